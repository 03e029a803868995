# `snakemake benchmarks`: what the engine's speed and the recipes' quality cost, beside a plain loop. Not part of `all`.

BENCHMARKS = f"{RESULTS}/benchmarks"


rule benchmark_throughput:
    output:
        throughput=f"{BENCHMARKS}/throughput.csv",
        state=f"{BENCHMARKS}/state.csv",
    log:
        f"{RESULTS}/logs/benchmark_throughput.log",
    benchmark:
        f"{BENCHMARKS}/benchmark_throughput.tsv"
    conda:
        "../../envs/environment.yaml"
    # The whole machine: nothing may run beside a measurement.
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=GPU,
        mem_mb=4000,
        save_every=SAVE_EVERY,
        runtime=120,
    params:
        code=script_digest("benchmark_throughput.py"),
        spec=CONFIG.speed_json("throughput", recipes=config["recipes"]),
    message:
        "Image passes per second, next to a plain loop"
    shell:
        "python scripts/benchmark_throughput.py --spec {params.spec:q} --cores {threads} --output {output.throughput:q}"
        " --state {output.state:q} --save-every {resources.save_every} > {log:q} 2>&1"


rule benchmark_surfaces:
    input:
        masks=expand(f"{RESULTS}/masks/{{mask}}.npy", mask=CONFIG.masks),
    output:
        surfaces=f"{BENCHMARKS}/surfaces.csv",
        memory=f"{BENCHMARKS}/memory.csv",
    log:
        f"{RESULTS}/logs/benchmark_surfaces.log",
    benchmark:
        f"{BENCHMARKS}/benchmark_surfaces.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=120,
    params:
        code=script_digest("benchmark_surfaces.py"),
        spec=CONFIG.speed_json("surfaces"),
    message:
        "Surface points per second, next to a plain loop; memory of planes"
    shell:
        "python scripts/benchmark_surfaces.py --spec {params.spec:q} --masks {input.masks:q} --cores {threads}"
        " --surfaces {output.surfaces:q} --memory {output.memory:q} > {log:q} 2>&1"


rule benchmark_quality:
    input:
        dataset=f"{RESULTS}/data/{config['benchmarks']['quality']['dataset']}.npz",
        mask=f"{RESULTS}/masks/{{mask}}.npy",
    output:
        f"{BENCHMARKS}/quality/{{mask}}/{{variant}}/seed{{seed}}.csv",
    log:
        f"{RESULTS}/logs/benchmark_quality/{{mask}}/{{variant}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/benchmark_quality/{{mask}}/{{variant}}/seed{{seed}}.tsv"
    conda:
        "../../envs/environment.yaml"
    # Fixed, as for train_plane.
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=720,
    params:
        code=script_digest("benchmark_quality.py"),
        spec=lambda wildcards: CONFIG.quality_runs[f"{wildcards.mask}/{wildcards.variant}/seed{wildcards.seed}"].json(),
    message:
        "Gap against image passes: {wildcards.mask}, {wildcards.variant}, seed {wildcards.seed} (time left: tail -f {log})"
    shell:
        "python scripts/benchmark_quality.py --dataset {input.dataset:q} --mask {input.mask:q} --mask-name {wildcards.mask}"
        " --variant {wildcards.variant} --spec {params.spec:q} --threads {threads} --output {output:q} > {log:q} 2>&1"


rule summarise_benchmarks:
    input:
        curves=expand(f"{BENCHMARKS}/quality/{{run}}.csv", run=CONFIG.quality_runs),
    output:
        quality=f"{BENCHMARKS}/quality.csv",
        by_seed=f"{BENCHMARKS}/passes_to_gap_by_seed.csv",
        over_seeds=f"{BENCHMARKS}/passes_to_gap.csv",
    log:
        f"{RESULTS}/logs/summarise_benchmarks.log",
    benchmark:
        f"{BENCHMARKS}/summarise_benchmarks.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=script_digest("summarise_benchmarks.py"),
    message:
        "Image passes and seconds to each gap"
    shell:
        "python scripts/summarise_benchmarks.py --curves {input.curves:q} --quality {output.quality:q}"
        " --by-seed {output.by_seed:q} --passes-to-gap {output.over_seeds:q} > {log:q} 2>&1"


rule plot_benchmarks:
    input:
        quality=f"{BENCHMARKS}/quality.csv",
        throughput=f"{BENCHMARKS}/throughput.csv",
        surfaces=f"{BENCHMARKS}/surfaces.csv",
        memory=f"{BENCHMARKS}/memory.csv",
    output:
        pdf=f"{FIGURE_DIR}/benchmarks.pdf",
        png=report(f"{FIGURE_DIR}/benchmarks.png", caption="../report/benchmarks.rst", category="Benchmarks"),
    log:
        f"{RESULTS}/logs/plot_benchmarks.log",
    benchmark:
        f"{BENCHMARKS}/plot_benchmarks.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=script_digest("plot_benchmarks.py"),
        stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
        # A function: in a plain string, Snakemake takes the braces of a label for a wildcard.
        options=lambda wildcards: json.dumps({"labels": CONFIG.variant_labels()}),
    message:
        "Figure of the benchmarks"
    shell:
        "python scripts/plot_benchmarks.py --quality {input.quality:q} --throughput {input.throughput:q}"
        " --surfaces {input.surfaces:q} --memory {input.memory:q} --output-stem {params.stem:q}"
        " --options {params.options:q} > {log:q} 2>&1"


rule benchmarks:
    input:
        rules.plot_benchmarks.output,
        rules.summarise_benchmarks.output,
    localrule: True
