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
        'python "$LOSSPATTERNS/scripts/score_surfaces.py" --surfaces {input.surfaces:q} --histories {input.histories:q}'
        " --studies {params.studies:q} --scores {output.scores:q} --study {output.study:q} > {log:q} 2>&1"


rule write_claims:
    """The paper's claims beside what this scale measured; all tables as pages of the report."""
    input:
        scores=FILES.scores,
        study=FILES.study,
    output:
        table=FILES.claims,
        page=FILES.claims_page,
        report=[
            report(
                at(FILES.report, table=name), "../report/tables.rst", category="Tables", labels={"table": name.capitalize()}
            )
            for name in REPORT
        ],
    log:
        FILES.log("write_claims"),
    benchmark:
        FILES.clock("write_claims")
    localrule: True
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=script_digest("write_claims.py"),
    message:
        "The paper's claims"
    shell:
        'python "$LOSSPATTERNS/scripts/write_claims.py"'
        " --scores {input.scores:q} --study {input.study:q} --table {output.table:q}"
        " --page {output.page:q} --report {output.report:q} > {log:q} 2>&1"
