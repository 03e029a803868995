rule fetch_dataset:
    input:
        folders=lambda wildcards: CONFIG.image_folders(wildcards.dataset),
    output:
        f"{RESULTS}/data/{{dataset}}.npz",
    log:
        f"{RESULTS}/logs/fetch_dataset/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_dataset/{{dataset}}.tsv"
    localrule: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        code=script_digest("fetch_dataset.py"),
        archives=lambda wildcards: digest(CONFIG.image_folders(wildcards.dataset)),
        spec=lambda wildcards: json.dumps(config["datasets"][wildcards.dataset], sort_keys=True),
    message:
        "Dataset {wildcards.dataset}"
    shell:
        "python scripts/fetch_dataset.py --name {wildcards.dataset} --spec {params.spec:q} --output {output:q} > {log:q} 2>&1"
