rule draw_figure:
    """A figure, drawn by the module of its kind in scripts/losspatterns/figures/."""
    input:
        unpack(lambda wildcards: RUNS.figure_inputs(wildcards.figure)),
    output:
        pdf=f"{FILES.figure}.pdf",
        png=report(
            f"{FILES.figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda wildcards: {"figure": RUNS.figures[wildcards.figure].label},
        ),
    log:
        FILES.log("draw_figure", "{figure}"),
    benchmark:
        FILES.clock("draw_figure", "{figure}")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=lambda wildcards: script_digest("draw_figure.py", f"losspatterns.figures.{RUNS.figures[wildcards.figure].kind}"),
        kind=lambda wildcards: RUNS.figures[wildcards.figure].kind,
        caption=lambda wildcards: RUNS.figures[wildcards.figure].caption,
        spec=lambda wildcards: RUNS.figure_spec(wildcards.figure),
        stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
    message:
        "Figure {wildcards.figure}"
    shell:
        'python "$LOSSPATTERNS/scripts/draw_figure.py"'
        " --kind {params.kind} --spec {params.spec:q} --surfaces {input.surfaces:q}"
        " --scores {input.scores:q} --output-stem {params.stem:q} > {log:q} 2>&1"
