rule pack:
    """One archive of all results, to move or to publish; `unpack` puts it in place, and nothing runs again."""
    input:
        products=RUNS.products(),
        manifest=FILES.manifest,
    output:
        FILES.archive,
    log:
        FILES.log("pack"),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("pack_results.py"),
        scale=RUNS.settings.scale,
    message:
        "All results as one archive: {output}"
    shell:
        command("pack_results.py", "params.scale input.manifest output", artifacts="input.products", log=TOLD)


rule unpack:
    """Puts an archive of `pack` in place: --config archive=FILE."""
    log:
        FILES.log("unpack"),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        archive=str(user_path(str(GIVEN.get("unpack", "")))),
        scale=RUNS.settings.scale,
    message:
        "Put in place what {params.archive} holds"
    shell:
        command("unpack_results.py", "params.archive params.scale", log=TOLD)


rule compare:
    """Whether the scores agree with the published ones of this scale, or with --config scores=FILE."""
    input:
        FILES.scores,
    log:
        FILES.log("compare"),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        reference=str(user_path(str(GIVEN["compare"])) if "compare" in GIVEN else ROOT / FILES.reference),
    message:
        "Scores compared with {params.reference}"
    shell:
        command("compare_scores.py", "params.reference", scores="input", log=TOLD)


rule crate:
    """All results, their records and the code as a Workflow Run RO-Crate, which other tools read."""
    input:
        products=RUNS.products(),
        manifest=FILES.manifest,
    output:
        FILES.crate,
    log:
        FILES.log("crate"),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("write_crate.py"),
        scale=RUNS.settings.scale,
        settings=plain(RUNS.settings.model_dump_json()),
    message:
        "All results as an RO-Crate: {output}"
    shell:
        command("write_crate.py", "params.scale params.settings input.manifest output", artifacts="input.products")
