rule fetch_dataset:
    """A data set from the first of its sources that is there, as one file."""
    input:
        folders=lambda wildcards: inputs(RUNS.image_folders(wildcards.dataset)),
    output:
        FILES.dataset,
    log:
        FILES.log("fetch_dataset", "{dataset}"),
    benchmark:
        FILES.clock("fetch_dataset", "{dataset}")
    # All else waits for it.
    priority: 4
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("fetch_dataset.py"),
        archives=lambda wildcards: digest(RUNS.image_folders(wildcards.dataset)),
        spec=lambda wildcards: RUNS.dataset_spec(wildcards.dataset),
    message:
        "Dataset {wildcards.dataset}"
    shell:
        command("fetch_dataset.py", "params.spec output", name="wildcards.dataset")
