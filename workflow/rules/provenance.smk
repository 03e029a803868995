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
        'python "$LOSSPATTERNS/scripts/make_manifest.py" --artifacts {input:q} --output {output:q} > {log:q} 2>&1'


rule provenance:
    """Tells all that is known of every result, and verifies it."""
    input:
        RUNS.products(),
    log:
        FILES.log("provenance"),
    localrule: True
    conda:
        "../../envs/environment.yaml"
    message:
        "What made every result"
    shell:
        'python "$LOSSPATTERNS/scripts/provenance.py" {input:q} 2>&1 | tee {log:q}'
