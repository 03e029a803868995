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
    params:
        code=lambda wildcards: script_digest("draw_figure.py", f"losspatterns.figures.{RUNS.figures[wildcards.figure].kind}"),
        kind=lambda wildcards: RUNS.figures[wildcards.figure].kind,
        caption=lambda wildcards: RUNS.figures[wildcards.figure].caption,
        spec=lambda wildcards: RUNS.figure_spec(wildcards.figure),
        stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
    message:
        "Figure {wildcards.figure}"
    shell:
        command("draw_figure.py", "params.kind params.spec input.surfaces input.scores", output_stem="params.stem")


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
    params:
        code=script_digest("write_pages.py"),
        templates=TEMPLATES,
        scale=RUNS.settings.scale,
    message:
        "Pages to explore: {output}/index.html"
    shell:
        command("write_pages.py", "params.scale input.surfaces input.films input.scores output")
