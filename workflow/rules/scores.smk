rule score_surfaces:
    input:
        surfaces=all_surfaces(),
        histories=[f"{RESULTS}/planes/{path}.history.csv" for path in CONFIG.runs],
    output:
        f"{RESULTS}/scores.csv",
    log:
        f"{RESULTS}/logs/score_surfaces.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_surfaces.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=script_digest("score_surfaces.py"),
        planes=lambda wildcards, output: str(Path(output[0]).parent / "planes"),
    message:
        "Scores of all surfaces"
    shell:
        "python scripts/score_surfaces.py --surfaces {input.surfaces:q} --planes {params.planes:q} --output {output:q} > {log:q} 2>&1"


rule summarise_study:
    input:
        scores=f"{RESULTS}/scores.csv",
    output:
        f"{RESULTS}/study.csv",
    log:
        f"{RESULTS}/logs/summarise_study.log",
    benchmark:
        f"{RESULTS}/benchmarks/summarise_study.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=script_digest("summarise_study.py"),
        spec=json.dumps(CONFIG.studies(), sort_keys=True),
    message:
        "The batch norm studies in numbers"
    shell:
        "python scripts/summarise_study.py --scores {input.scores:q} --spec {params.spec:q} --output {output:q} > {log:q} 2>&1"
