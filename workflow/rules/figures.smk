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


TEMPLATES = digest(sorted((ROOT / "scripts/losspatterns/explore/templates").iterdir()))


rule explore:
    """A page per plane to look at its surfaces in a browser, and an index of them. No part of `all`."""
    input:
        surfaces=RUNS.every(FILES.surface),
        films=RUNS.explored_films(),
        scores=FILES.scores,
    output:
        report(directory(FILES.explore), htmlindex="index.html", category="Explore"),
    log:
        FILES.log("explore"),
    benchmark:
        FILES.clock("explore")
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=script_digest("write_pages.py"),
        templates=TEMPLATES,
        scale=RUNS.settings.scale,
    message:
        "Pages to explore: {output}/index.html"
    shell:
        'python "$LOSSPATTERNS/scripts/write_pages.py" --scale {params.scale:q} --surfaces {input.surfaces:q}'
        " --films {input.films:q} --scores {input.scores:q} --output {output:q} > {log:q} 2>&1"
