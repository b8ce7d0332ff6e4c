"""The study: it measures whether synthetic images help a classifier to identify the rare species."""

from syntype.study.config import StudyConfig
from syntype.study.report import write_report
from syntype.study.study import StudyPlan, StudyResult, plan_study, study

__all__ = ["StudyConfig", "StudyPlan", "StudyResult", "plan_study", "study", "write_report"]
