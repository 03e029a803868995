rule score_surfaces:
    """How well each surface shows its picture, and the studies in numbers."""
    input:
        surfaces=RUNS.every(FILES.surface),
        pixels=RUNS.scored_pixels(),
        histories=RUNS.every(FILES.history),
        parts=inputs(RUNS.other_scores()),
    output:
        scores=FILES.scores,
        study=FILES.study,
    log:
        FILES.log("score_surfaces"),
    benchmark:
        FILES.clock("score_surfaces")
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("score_surfaces.py"),
        studies=plain(RUNS.study_spec()),
        parts=RUNS.other_scores(),
    message:
        "Scores of all surfaces"
    shell:
        command(
            "score_surfaces.py",
            "input.surfaces input.pixels input.histories params.parts params.studies output.scores output.study",
        )


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
    params:
        code=script_digest("write_claims.py"),
    message:
        "The paper's claims"
    shell:
        command("write_claims.py", "input.scores input.study output.table output.page output.report")
