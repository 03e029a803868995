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
        folders=[FILES.results, FILES.figures],
    message:
        "All results as one archive: {output}"
    shell:
        'python "$LOSSPATTERNS/scripts/pack_results.py" --scale {params.scale:q} --folders {params.folders:q} --artifacts {input.products:q}'
        " --manifest {input.manifest:q} --output {output:q} 2>&1 | tee {log:q}"


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
        folders=[FILES.results, FILES.figures],
    message:
        "Put in place what {params.archive} holds"
    shell:
        'python "$LOSSPATTERNS/scripts/unpack_results.py" --archive {params.archive:q} --scale {params.scale:q}'
        " --folders {params.folders:q} 2>&1 | tee {log:q}"


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
        'python "$LOSSPATTERNS/scripts/compare_scores.py" --scores {input:q} --reference {params.reference:q} 2>&1 | tee {log:q}'


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
        folders=[FILES.results, FILES.figures],
        # A function: in a plain string, Snakemake takes braces for a wildcard.
        settings=lambda wildcards: RUNS.settings.model_dump_json(),
    message:
        "All results as an RO-Crate: {output}"
    shell:
        'python "$LOSSPATTERNS/scripts/write_crate.py" --scale {params.scale:q} --folders {params.folders:q} --artifacts {input.products:q}'
        " --manifest {input.manifest:q} --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
