rule draw_film:
    """The training of a plane as a moving picture: its surface at every snapshot."""
    input:
        lambda wildcards: RUNS.film_input(wildcards.film),
    output:
        report(f"{FILES.film}.gif", "../report/film.rst", category="Films", labels={"film": "{film}"}),
    log:
        FILES.log("draw_film", "{film}"),
    benchmark:
        FILES.clock("draw_film", "{film}")
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("draw_film.py"),
    message:
        "Film {wildcards.film}"
    shell:
        command("draw_film.py", "output", surfaces="input")


rule film_mp4:
    """A film for players and slides."""
    input:
        f"{FILES.film}.gif",
    output:
        f"{FILES.film}.mp4",
    log:
        FILES.log("film_mp4", "{film}"),
    benchmark:
        FILES.clock("film_mp4", "{film}")
    localrule: True
    conda:
        "../../envs/environment.yaml"
    message:
        "Film {wildcards.film} as MP4"
    shell:
        "ffmpeg -y -loglevel error -i {input:q} -vf 'pad=ceil(iw/2)*2:ceil(ih/2)*2,tpad=stop_mode=clone:stop=1'"
        " -pix_fmt yuv420p -movflags +faststart -bitexact {output:q} > {log:q} 2>&1"


rule draw_page:
    """The page to explore one plane, as a file for itself."""
    input:
        surfaces=lambda wildcards: RUNS.film_input(wildcards.film, FILES.surface),
        film=lambda wildcards: RUNS.film_input(wildcards.film),
    output:
        f"{FILES.film}.html",
    log:
        FILES.log("draw_page", "{film}"),
    benchmark:
        FILES.clock("draw_page", "{film}")
    conda:
        "../../envs/environment.yaml"
    params:
        code=script_digest("draw_page.py"),
        templates=TEMPLATES,
    message:
        "Page {wildcards.film}"
    shell:
        command("draw_page.py", "input.surfaces input.film output")


rule films:
    """The films of all pictures of experiments; as MP4 too, where ffmpeg is installed."""
    input:
        lambda wildcards: RUNS.film_files(".gif"),
        lambda wildcards: RUNS.film_files(".mp4") if shutil.which("ffmpeg") else [],
    localrule: True
    message:
        "Films: {input}"


rule draw:
    """The picture that --config names, as a loss surface."""
    input:
        lambda wildcards: RUNS.drawn_files(),
    localrule: True
    message:
        "Drawn: {input}"
