import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport


def test_a_report_can_be_used_again_after_its_faults_were_raised() -> None:
    report = DataReport()
    with pytest.raises(DataError, match=r"^the data has 2 faults:\n- one\n- two$"), report.all_faults():
        report.refuse("one")
        raise DataError("two")
    with pytest.raises(DataError, match="^three$"), report.all_faults():
        raise DataError("three")
    with pytest.raises(ZeroDivisionError), report.all_faults():
        report.refuse("four")
        raise ZeroDivisionError
    with report.all_faults():
        pass
