# One rule per figure, named after it; which runs it draws is its entry below `figures` in the config.


def panel_surfaces(figure):
    """The surfaces that a figure draws, panel by panel; figure 5 shows both splits, the others the test set."""
    files = []
    for panel in CONFIG.panels[figure]:
        run = CONFIG.run_of(panel)
        bn = config["figures"][figure].get("bn_protocol", "batch") if run.network_spec.batch_norm else "none"
        files += [surface_file(run, split, bn) for split in (("train", "test") if figure == "fig5_cifar10" else ("test",))]
    return files


def figure_options(figure):
    """What the figure's script needs to know beside its files, as one line of JSON."""
    entry = config["figures"][figure]
    if figure != "fig6_fill_probability":
        return json.dumps({"loss_range": entry.get("loss_range", "auto")})
    experiment = config["experiments"][entry["experiment"]]
    shown = {key: experiment[key] for key in ("dataset", "networks", "seeds")}
    return json.dumps({**shown, "masks": entry["masks"], "bn_protocol": entry["bn_protocol"]}, sort_keys=True)


def figure_source(figure):
    """The script's argument and its files: the surfaces, or for the study the scores."""
    return ("--scores", [f"{RESULTS}/scores.csv"]) if figure == "fig6_fill_probability" else ("--surfaces", panel_surfaces(figure))


for figure in FIGURES:

    rule:
        name:
            f"plot_{figure}"
        input:
            code=code(f"plot_{figure}.py"),
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
            script=f"scripts/plot_{figure}.py",
            source=figure_source(figure)[0],
            stem=f"{FIGURE_DIR}/{figure}",
            options=figure_options(figure),
        message:
            f"Figure {figure}"
        shell:
            "python {params.script} {params.source} {input.data:q} --output-stem {params.stem:q} --options {params.options:q} > {log:q} 2>&1"
