rule train_plane:
    input:
        module=module_files,
        dataset=f"{RESULTS}/data/{{dataset}}.npz",
        mask=f"{RESULTS}/masks/{{mask}}.npy",
    output:
        plane=f"{RESULTS}/planes/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.safetensors",
        untrained=f"{RESULTS}/planes/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.untrained.safetensors",
        history=f"{RESULTS}/planes/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.history.csv",
    log:
        f"{RESULTS}/logs/train_plane/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_plane/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.tsv"
    # The long jobs first, so that none is left alone at the end.
    priority: 1
    conda:
        "../../envs/environment.yaml"
    # Fixed, and never more: a result depends on the number of threads, and must not depend on --cores.
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        save_every=SAVE_EVERY,
        runtime=720,
    params:
        code=script_digest("train_plane.py"),
        module=lambda wildcards: digest(module_files(wildcards)),
        spec=lambda wildcards: run_of(wildcards).training_json(),
        mask=lambda wildcards: CONFIG.mask_json(wildcards.mask),
        # Unfinished work. No output: it must outlive a failed job.
        state=f"{RESULTS}/state/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.safetensors",
    message:
        "Plane {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed} (time left: tail -f {log})"
    shell:
        "python scripts/train_plane.py --dataset {input.dataset:q} --mask {input.mask:q}"
        " --dataset-name {wildcards.dataset} --mask-spec {params.mask:q} --spec {params.spec:q} --threads {threads}"
        " --plane {output.plane:q} --untrained {output.untrained:q} --history {output.history:q}"
        " --state {params.state:q} --save-every {resources.save_every} > {log:q} 2>&1"
