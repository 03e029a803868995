def all_surfaces():
    """Every surface of every run, and the test surface of its untrained plane."""
    files = []
    for run in CONFIG.runs.values():
        files += [surface_file(run, split, bn) for split in run.surface.splits for bn in run.protocols]
        files += [f"{RESULTS}/surfaces/{run.path}.untrained.test.{bn}.npz" for bn in run.protocols]
    return files


rule score_surfaces:
    input:
        code=code("score_surfaces.py"),
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
        planes=f"{RESULTS}/planes",
    message:
        "Scores of all surfaces"
    shell:
        "python scripts/score_surfaces.py --surfaces {input.surfaces:q} --planes {params.planes:q} --output {output:q} > {log:q} 2>&1"
