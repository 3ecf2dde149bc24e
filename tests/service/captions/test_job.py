"""Jobs and their keys."""

from service.captions.job import Job, JobKey


def test_a_key_names_what_is_translated_and_tells_jobs_apart() -> None:
    key = JobKey("s", "a", "de", 1)
    assert key == ("s", "a", "de", 1, False)
    assert key._replace(piece=2) != key
    job = Job(key, 1, "we go", is_open=True, is_final=False, forced=(), draft=(), bias=0.0)
    assert job.target == "de"
    assert {job.key: 1} == {key: 1}
