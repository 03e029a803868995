rule warm_origin:
    """The untrained plane of a network and seed, its origin trained as an ordinary model: once for all pictures."""
    input:
        module=lambda wildcards: inputs(RUNS.module_files(wildcards.network)),
        dataset=FILES.dataset,
    output:
        FILES.origin,
    log:
        FILES.log("warm_origin", ORIGIN),
    benchmark:
        FILES.clock("warm_origin", ORIGIN)
    # Many trainings wait for it.
    priority: 2
    conda:
        "../../envs/environment.yaml"
    # Fixed, and never more: a result depends on the number of threads, and must not depend on --cores.
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=60,
    params:
        code=script_digest("warm_origin.py"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        spec=lambda wildcards: RUNS.origin(wildcards).origin_spec(),
    message:
        "Origin {wildcards.dataset}/{wildcards.network}/seed{wildcards.seed}"
    shell:
        command("warm_origin.py", "input.dataset params.spec threads output", dataset_name="wildcards.dataset")


rule train_plane:
    """A plane whose loss surface shows a picture."""
    input:
        module=lambda wildcards: inputs(RUNS.module_files(wildcards.network)),
        dataset=FILES.dataset,
        mask=FILES.mask,
        origin=lambda wildcards: RUNS.file_of(FILES.origin, wildcards),
    output:
        plane=FILES.plane,
        history=FILES.history,
    log:
        FILES.log("train_plane", RUN),
    benchmark:
        FILES.clock("train_plane", RUN)
    # The longest first, so that none is left alone at the end.
    priority: lambda wildcards: RUNS.run(wildcards).priority
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        save_every=SAVE_EVERY,
        # No parameter, so that another number of them trains nothing again: who needs others repeats the training (films).
        snapshots=lambda wildcards: RUNS.run(wildcards).snapshots,
        runtime=720,
    params:
        code=script_digest("train_plane.py"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        spec=lambda wildcards: RUNS.run(wildcards).training_spec(),
        mask_spec=lambda wildcards: RUNS.mask_spec(wildcards.mask),
        state=FILES.state("planes", RUN),
    message:
        "Plane {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed} (time left: tail -f {log})"
    shell:
        command(
            "train_plane.py",
            "input.dataset input.mask input.origin params.mask_spec params.spec threads resources.snapshots",
            "output.plane output.history params.state resources.save_every",
            dataset_name="wildcards.dataset",
        )
