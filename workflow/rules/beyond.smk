# `snakemake beyond`: experiments that the paper leaves open. Not part of `all`.

from losspatterns.beyond.planning import parts_of

# A config whose parts ask for what is not there still draws its figures.
try:
    PARTS = parts_of(RUNS)
except InputError as error:
    PARTS = {}
    if "beyond" in sys.argv:
        raise WorkflowError(f"config: {error}") from None


wildcard_constraints:
    part="|".join(PARTS) or "none",


rule measure_part:
    """What a part of `beyond` measures on one trained plane."""
    input:
        module=lambda wildcards: inputs(RUNS.module_files(wildcards.network)),
        plane=FILES.plane,
        origin=lambda wildcards: RUNS.file_of(FILES.origin, wildcards),
        mask=FILES.mask,
        datasets=lambda wildcards: expand(FILES.dataset, dataset=[wildcards.dataset, *PARTS[wildcards.part].needs.datasets]),
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
        code=lambda wildcards: script_digest("measure_part.py", f"losspatterns.beyond.{PARTS[wildcards.part].kind}"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        options=lambda wildcards: PARTS[wildcards.part].spec,
    message:
        "Beyond, {wildcards.part}: {wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"
    shell:
        command("measure_part.py", "params.options input.plane input.origin input.mask input.datasets threads output")


rule summarise_part:
    """Table, verdict and figure of a part of `beyond`."""
    input:
        unpack(lambda wildcards: PARTS[wildcards.part].inputs(RUNS, wildcards.part)),
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
    params:
        code=lambda wildcards: script_digest("summarise_part.py", f"losspatterns.beyond.shown.{PARTS[wildcards.part].kind}"),
        caption=lambda wildcards: PARTS[wildcards.part].caption,
        options=lambda wildcards: PARTS[wildcards.part].spec,
        stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
    message:
        "Beyond, {wildcards.part}: table, verdict and figure"
    shell:
        command(
            "summarise_part.py",
            "params.options input.measured input.surfaces output.table output.page",
            output_stem="params.stem",
        )


rule beyond:
    """Experiments that the paper leaves open: what else lies in a plane."""
    input:
        expand(f"{FILES.part}.{{suffix}}", part=PARTS, suffix=["csv", "md"]),
        expand(f"{FILES.part_figure}.{{suffix}}", part=PARTS, suffix=["pdf", "png"]),
    localrule: True
    message:
        f"Beyond the paper: {FILES.figures}/beyond/, {FILES.results}/beyond/"
