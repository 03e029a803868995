def dataset_files(wildcards):
    """Image folders and archives that the config names and that exist: editing one fetches the dataset again."""
    folders = [s["image_folder"] for s in config["datasets"][wildcards.dataset]["sources"] if "image_folder" in s]
    return [path for path in folders if Path(path).exists()]


rule fetch_dataset:
    input:
        code=code("fetch_dataset.py"),
        folders=dataset_files,
    output:
        f"{RESULTS}/data/{{dataset}}.npz",
    log:
        f"{RESULTS}/logs/fetch_dataset/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_dataset/{{dataset}}.tsv"
    conda:
        "../../envs/environment.yaml"
    localrule: True
    threads: 1
    retries: 2
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        spec=lambda wildcards: json.dumps(config["datasets"][wildcards.dataset], sort_keys=True),
    message:
        "Dataset {wildcards.dataset}"
    shell:
        "python scripts/fetch_dataset.py --name {wildcards.dataset} --spec {params.spec:q} --output {output:q} > {log:q} 2>&1"
