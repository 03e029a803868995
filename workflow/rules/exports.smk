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
    params:
        code=script_digest("export_surface.py"),
    message:
        "Export {wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"
    shell:
        command("export_surface.py", "output.grid output.points", surface="input")


rule exports:
    """All surfaces for other tools."""
    input:
        RUNS.every(FILES.grid),
        RUNS.every(FILES.points),
    localrule: True
    message:
        f"Exported: {FILES.exports}/"
