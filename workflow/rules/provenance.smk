rule make_manifest:
    """Everything that was made, with checksums: from the figures back to the datasets."""
    input:
        RUNS.products(),
    output:
        FILES.manifest,
    log:
        FILES.log("make_manifest"),
    benchmark:
        FILES.clock("make_manifest")
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("make_manifest.py"),
    message:
        "Manifest: everything that was made, with checksums"
    shell:
        command("make_manifest.py", "output", artifacts="input")


rule provenance:
    """Tells all that is known of every result that is there, and verifies it; makes none."""
    log:
        FILES.log("provenance"),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        products=RUNS.products(),
        manifest=FILES.manifest,
    message:
        "What made every result"
    shell:
        'python "$LOSSPATTERNS/scripts/provenance.py" {params.products:q} --manifest {params.manifest:q} 2>&1 | tee {log:q}'
