rule make_mask:
    input:
        picture=picture_files,
    output:
        mask=f"{RESULTS}/masks/{{mask}}.npy",
        preview=f"{RESULTS}/masks/{{mask}}.png",
    log:
        f"{RESULTS}/logs/make_mask/{{mask}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_mask/{{mask}}.tsv"
    localrule: True
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=script_digest("make_mask.py"),
        picture=lambda wildcards: digest(picture_files(wildcards)),
        spec=lambda wildcards: json.dumps(config["masks"][wildcards.mask], sort_keys=True),
    message:
        "Mask {wildcards.mask}"
    shell:
        "python scripts/make_mask.py --name {wildcards.mask} --spec {params.spec:q}"
        " --output {output.mask:q} --preview {output.preview:q} > {log:q} 2>&1"
