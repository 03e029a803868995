# Everything that was made, with checksums: from the figures back to the datasets.

MADE = [
    *FIGURE_FILES,
    *(f"{RESULTS}/{name}.csv" for name in ("scores", "study")),
    *MASK_PREVIEWS,
    *all_surfaces(),
    *(f"{RESULTS}/planes/{path}.safetensors" for path in CONFIG.runs),
]


rule make_manifest:
    input:
        MADE,
    output:
        f"{RESULTS}/manifest.json",
    log:
        f"{RESULTS}/logs/make_manifest.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_manifest.tsv"
    localrule: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=script_digest("make_manifest.py"),
    message:
        "Manifest: everything that was made, with checksums"
    shell:
        "python scripts/make_manifest.py --artifacts {input:q} --output {output:q} > {log:q} 2>&1"


# `snakemake provenance`: tells all that is known of every result, and verifies it.
rule provenance:
    input:
        MADE,
    log:
        f"{RESULTS}/logs/provenance.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "What made every result"
    shell:
        "python scripts/provenance.py {input:q} 2>&1 | tee {log:q}"
