rule evaluate_surface:
    input:
        module=module_files,
        plane=f"{RESULTS}/planes/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.safetensors",
        dataset=f"{RESULTS}/data/{{dataset}}.npz",
        mask=f"{RESULTS}/masks/{{mask}}.npy",
    output:
        f"{RESULTS}/surfaces/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.{{split}}.{{bn}}.npz",
    log:
        f"{RESULTS}/logs/evaluate_surface/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.{{split}}.{{bn}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_surface/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.{{split}}.{{bn}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        save_every=SAVE_EVERY,
        runtime=120,
    params:
        code=script_digest("evaluate_surface.py"),
        module=lambda wildcards: digest(module_files(wildcards)),
        spec=lambda wildcards: run_of(wildcards).surface_json(),
        state=f"{RESULTS}/state/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.{{split}}.{{bn}}.safetensors",
    message:
        "Surface {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}, {wildcards.split}, batch norm: {wildcards.bn}"
    shell:
        "python scripts/evaluate_surface.py --plane {input.plane:q} --dataset {input.dataset:q} --mask {input.mask:q}"
        " --split {wildcards.split} --bn-protocol {wildcards.bn} --spec {params.spec:q} --threads {threads}"
        " --output {output:q} --state {params.state:q} --save-every {resources.save_every} > {log:q} 2>&1"


# The null control: the same evaluation of the plane as it was before training, on the picture's own pixels.
use rule evaluate_surface as evaluate_untrained with:
    input:
        module=module_files,
        plane=f"{RESULTS}/planes/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.untrained.safetensors",
        dataset=f"{RESULTS}/data/{{dataset}}.npz",
        mask=f"{RESULTS}/masks/{{mask}}.npy",
    output:
        f"{RESULTS}/surfaces/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.untrained.{{split}}.{{bn}}.npz",
    log:
        f"{RESULTS}/logs/evaluate_surface/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.untrained.{{split}}.{{bn}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_surface/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.untrained.{{split}}.{{bn}}.tsv"
    params:
        code=script_digest("evaluate_surface.py"),
        module=lambda wildcards: digest(module_files(wildcards)),
        spec=lambda wildcards: run_of(wildcards).surface_json(padding=0, oversampling=1),
        state=f"{RESULTS}/state/{{dataset}}/{{mask}}/{{network}}/seed{{seed}}.untrained.{{split}}.{{bn}}.safetensors",
    message:
        "Untrained surface {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}, {wildcards.split}, batch norm: {wildcards.bn}"
