rule score_surfaces:
    """How well each surface shows its picture, and the studies in numbers."""
    input:
        surfaces=RUNS.every(FILES.surface),
        histories=RUNS.every(FILES.history),
    output:
        scores=FILES.scores,
        study=FILES.study,
    log:
        FILES.log("score_surfaces"),
    benchmark:
        FILES.clock("score_surfaces")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=script_digest("score_surfaces.py"),
        # A function: in a plain string, Snakemake takes braces for a wildcard.
        studies=lambda wildcards: RUNS.study_spec(),
    message:
        "Scores of all surfaces"
    shell:
        "python scripts/score_surfaces.py --surfaces {input.surfaces:q} --histories {input.histories:q}"
        " --studies {params.studies:q} --scores {output.scores:q} --study {output.study:q} > {log:q} 2>&1"
