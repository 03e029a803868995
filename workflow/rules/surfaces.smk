rule evaluate_surface:
    """All surfaces of a plane, untrained and trained, on every split and under every protocol, as one file."""
    input:
        module=lambda wildcards: inputs(RUNS.module_files(wildcards.network)),
        plane=FILES.plane,
        origin=lambda wildcards: RUNS.file_of(FILES.origin, wildcards),
        dataset=FILES.dataset,
        mask=FILES.mask,
    output:
        FILES.surface,
    log:
        FILES.log("evaluate_surface", RUN),
    benchmark:
        FILES.clock("evaluate_surface", RUN)
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        save_every=SAVE_EVERY,
        runtime=240,
    params:
        code=script_digest("evaluate_surface.py"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        spec=lambda wildcards: RUNS.run(wildcards).surface_spec(),
        state=FILES.state("surfaces", RUN),
    message:
        "Surfaces {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"
    shell:
        command(
            "evaluate_surface.py",
            "input.plane input.origin input.dataset input.mask params.spec threads output params.state resources.save_every",
        )


use rule evaluate_surface as evaluate_film with:
    """The surfaces of a plane at every snapshot, for films: of few test images."""
    output:
        FILES.film_surfaces,
    log:
        FILES.log("evaluate_film", RUN),
    benchmark:
        FILES.clock("evaluate_film", RUN)
    params:
        code=script_digest("evaluate_surface.py"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        spec=lambda wildcards: RUNS.run(wildcards).film_spec(),
        state=FILES.state("films", RUN),
    message:
        "Surfaces of the film {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"


use rule evaluate_surface as evaluate_pixels with:
    """The trained plane's pixels on many test images: what the scores of a study rest on."""
    output:
        FILES.pixels,
    log:
        FILES.log("evaluate_pixels", RUN),
    benchmark:
        FILES.clock("evaluate_pixels", RUN)
    params:
        code=script_digest("evaluate_surface.py"),
        module=lambda wildcards: digest(RUNS.module_files(wildcards.network)),
        spec=lambda wildcards: RUNS.run(wildcards).pixels_spec(),
        state=FILES.state("pixels", RUN),
    message:
        "Pixels {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"
