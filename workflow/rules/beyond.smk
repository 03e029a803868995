# `snakemake beyond`: experiments that the paper leaves open. Not part of `all`.

# A config whose parts ask for what is not there still draws its figures.
try:
    RUNS.add_parts()
except InputError as error:
    if "beyond" in sys.argv:
        raise WorkflowError(f"config: {error}") from None


wildcard_constraints:
    part="|".join(RUNS.parts) or "none",


rule measure_part:
    """What a part of `beyond` measures on one trained plane."""
    input:
        module=lambda wildcards: inputs(RUNS.module_files(wildcards.network)),
        plane=FILES.plane,
        origin=lambda wildcards: RUNS.file_of(FILES.origin, wildcards),
        mask=FILES.mask,
        datasets=lambda wildcards: expand(
            FILES.dataset, dataset=[wildcards.dataset, *RUNS.parts[wildcards.part].needs.datasets]
        ),
    output:
        FILES.measured,
    log:
        FILES.log("measure_part", f"{{part}}/{RUN}"),
    benchmark:
        FILES.clock("measure_part", f"{{part}}/{RUN}")
    # Some take minutes: none should be left alone at the end.
    priority: 3
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=240,
    params:
        code=lambda wildcards: part_digest("measure_part.py", wildcards.part, ":measure"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        # A function: in a plain string, Snakemake takes braces for a wildcard.
        options=lambda wildcards: RUNS.part_options(wildcards.part),
    message:
        "Beyond, {wildcards.part}: {wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"
    shell:
        'python "$LOSSPATTERNS/scripts/measure_part.py" --options {params.options:q} --plane {input.plane:q}'
        " --origin {input.origin:q} --mask {input.mask:q} --datasets {input.datasets:q} --threads {threads} --output {output:q} > {log:q} 2>&1"


rule summarise_part:
    """Table, verdict and figure of a part of `beyond`."""
    input:
        unpack(lambda wildcards: RUNS.part_inputs(wildcards.part)),
    output:
        table=f"{FILES.part}.csv",
        page=f"{FILES.part}.md",
        pdf=f"{FILES.part_figure}.pdf",
        png=report(
            f"{FILES.part_figure}.png", caption="../report/figure.rst", category="Beyond the paper", labels={"part": "{part}"}
        ),
    log:
        FILES.log("summarise_part", "{part}"),
    benchmark:
        FILES.clock("summarise_part", "{part}")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=lambda wildcards: part_digest("summarise_part.py", wildcards.part),
        caption=lambda wildcards: RUNS.parts[wildcards.part].caption,
        options=lambda wildcards: RUNS.part_options(wildcards.part),
        stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
    message:
        "Beyond, {wildcards.part}: table, verdict and figure"
    shell:
        'python "$LOSSPATTERNS/scripts/summarise_part.py" --options {params.options:q} --measured {input.measured:q}'
        " --surfaces {input.surfaces:q} --table {output.table:q} --page {output.page:q} --output-stem {params.stem:q}"
        " > {log:q} 2>&1"


rule beyond:
    """Experiments that the paper leaves open: what else lies in a plane."""
    input:
        RUNS.part_files(),
    localrule: True
    message:
        f"Beyond the paper: {FILES.figures}/beyond/, {FILES.results}/beyond/"
