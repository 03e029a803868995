# One rule per figure, named after it; which runs it draws is its entry below `figures` in the config.

for figure in FIGURES:

    rule:
        name:
            f"plot_{figure}"
        input:
            data=figure_source(figure)[1],
        output:
            pdf=f"{FIGURE_DIR}/{figure}.pdf",
            png=report(f"{FIGURE_DIR}/{figure}.png", caption=f"../report/{figure}.rst", category="Figures"),
        log:
            f"{RESULTS}/logs/{figure}.log",
        benchmark:
            f"{RESULTS}/benchmarks/{figure}.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        params:
            code=script_digest(f"plot_{figure}.py"),
            script=f"scripts/plot_{figure}.py",
            source=figure_source(figure)[0],
            stem=lambda wildcards, output: output.pdf.removesuffix(".pdf"),
            # A function: in a plain string, Snakemake takes the braces of a label for a wildcard.
            options=lambda wildcards, figure=figure: CONFIG.figure_options(figure),
        message:
            f"Figure {figure}"
        shell:
            "python {params.script} {params.source} {input.data:q} --output-stem {params.stem:q} --options {params.options:q} > {log:q} 2>&1"
