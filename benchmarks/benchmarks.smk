# `snakemake benchmarks`: the engine's speed and memory beside a plain loop, and what a gap costs. Not part of `all`.

from lib.runs import BenchmarkRuns
from losspatterns.config.model import line
from losspatterns.runs.paths import CURVE

# A config whose benchmarks ask for what is not there still draws its figures.
try:
    BENCHMARKS = BenchmarkRuns(RUNS)
except InputError as error:
    BENCHMARKS = None
    if "benchmarks" in sys.argv:
        raise WorkflowError(f"config: {error}") from None


rule benchmark_speed:
    """Image passes per second beside a plain loop."""
    output:
        FILES.table("throughput"),
    log:
        FILES.log("benchmark_speed"),
    benchmark:
        FILES.clock("benchmark_speed")
    conda:
        "../envs/environment.yaml"
    # The whole machine: nothing may run beside a measurement.
    threads: lambda wildcards: workflow.cores
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=240,
    params:
        code=script_digest("benchmarks/speed.py"),
        # A function: in a plain string, Snakemake takes braces for a wildcard.
        spec=lambda wildcards: line(BENCHMARKS.speed),
    message:
        "Image passes per second beside a plain loop"
    shell:
        'python "$LOSSPATTERNS/benchmarks/speed.py" --spec {params.spec:q} --cores {threads} --output {output:q} > {log:q} 2>&1'


rule benchmark_quality:
    """The gap of one training against image passes and seconds."""
    input:
        module=lambda wildcards: inputs(BENCHMARKS.module_files(wildcards)),
        dataset=lambda wildcards: expand(FILES.dataset, dataset=BENCHMARKS.settings.quality.dataset),
        mask=FILES.mask,
    output:
        FILES.curve,
    log:
        FILES.log("benchmark_quality", CURVE),
    benchmark:
        FILES.clock("benchmark_quality", CURVE)
    conda:
        "../envs/environment.yaml"
    # Fixed, as for train_plane.
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=720,
    params:
        code=script_digest("benchmarks/quality.py"),
        module=lambda wildcards: digest(BENCHMARKS.module_files(wildcards)),
        spec=lambda wildcards: BENCHMARKS.spec(wildcards),
    message:
        "Gap against image passes: {wildcards.mask}, {wildcards.variant}, seed {wildcards.seed} (time left: tail -f {log})"
    shell:
        'python "$LOSSPATTERNS/benchmarks/quality.py" --dataset {input.dataset:q} --mask {input.mask:q} --spec {params.spec:q}'
        " --threads {threads} --output {output:q} > {log:q} 2>&1"


rule benchmarks:
    """What each gap costs, memory, and a figure of the curves."""
    input:
        throughput=FILES.table("throughput"),
        curves=lambda wildcards: BENCHMARKS.curves(),
    output:
        quality=FILES.table("quality"),
        passes_to_gap=FILES.table("passes_to_gap"),
        memory=FILES.table("memory"),
        pdf=f"{FILES.benchmarks_figure}.pdf",
        png=report(f"{FILES.benchmarks_figure}.png", caption="caption.rst", category="Benchmarks"),
    log:
        FILES.log("benchmarks"),
    benchmark:
        FILES.clock("benchmarks")
    conda:
        "../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=script_digest("benchmarks/summarise.py"),
        stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
    message:
        "Benchmarks: tables and figure"
    shell:
        'python "$LOSSPATTERNS/benchmarks/summarise.py"'
        " --curves {input.curves:q} --quality {output.quality:q} --memory {output.memory:q}"
        " --passes-to-gap {output.passes_to_gap:q} --output-stem {params.stem:q} > {log:q} 2>&1"
