rule export_surface:
    """The surfaces of a plane for other tools: a grid for ParaView (VTK) and a table (CSV)."""
    input:
        FILES.surface,
    output:
        grid=FILES.grid,
        points=FILES.points,
    log:
        FILES.log("export_surface", RUN),
    benchmark:
        FILES.clock("export_surface", RUN)
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=script_digest("export_surface.py"),
    message:
        "Export {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"
    shell:
        'python "$LOSSPATTERNS/scripts/export_surface.py"'
        " --surface {input:q} --grid {output.grid:q} --points {output.points:q} > {log:q} 2>&1"


rule exports:
    """All surfaces for other tools."""
    input:
        RUNS.every(FILES.grid),
        RUNS.every(FILES.points),
    localrule: True
    message:
        f"Exported: {FILES.exports}/"
