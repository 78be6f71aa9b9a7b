from .page import write_report as write_report
from .schema import ReportError as ReportError
