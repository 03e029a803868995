rule make_mask:
    """A picture as a mask: which pixels are white, black or ignored; and a preview of it."""
    input:
        picture=lambda wildcards: inputs(RUNS.picture_file(wildcards.mask)),
    output:
        mask=FILES.mask,
        preview=FILES.preview,
    log:
        FILES.log("make_mask", "{mask}"),
    benchmark:
        FILES.clock("make_mask", "{mask}")
    # Long trainings wait for it.
    priority: 3
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("make_mask.py"),
        picture=lambda wildcards: digest(RUNS.picture_file(wildcards.mask)),
        spec=lambda wildcards: RUNS.mask_spec(wildcards.mask),
    message:
        "Mask {wildcards.mask}"
    shell:
        command("make_mask.py", "params.spec output.preview", output="output.mask")
