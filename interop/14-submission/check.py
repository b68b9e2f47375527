import email.policy
import os
import pathlib
import shutil
import smtplib
import ssl
import subprocess
import sys
from email.message import EmailMessage

import api
from scene import (
    ATTACHMENT,
    ATTACHMENT_NAME,
    HTML,
    PLAINTEXT,
    SINK_VERIFIED,
    SUBJECT,
    TEXT,
    UNVERIFIED,
    VERIFIED,
    expect,
    expect_intact,
    how,
    kept,
    outcome,
)

DOMAIN = "submission.sender.test"
LOGIN = f"app@{DOMAIN}"
PORT, TLS_PORT = os.environ["SUBMISSION_PORT"], os.environ["SUBMISSIONS_PORT"]
CA = os.environ["CA"]
SCRATCH = pathlib.Path(sys.argv[1])


def main():
    api.ok("POST", "/v4/domains", [("name", DOMAIN)])
    made = api.ok("POST", f"/v3/domains/{DOMAIN}/credentials", [("login", "app")])
    password = made["credentials"][LOGIN]
    (SCRATCH / "password").write_text(password)
    with_smtplib(password)
    with_notifications(password)
    with_swaks(password)
    with_msmtp(password)


def client(password, implicit=False):
    trust = ssl.create_default_context(cafile=CA)
    if implicit:
        smtp = smtplib.SMTP_SSL("localhost", int(TLS_PORT), timeout=30, context=trust)
    else:
        smtp = smtplib.SMTP("localhost", int(PORT), timeout=30)
        smtp.starttls(context=trust)
    smtp.login(LOGIN, password)
    return smtp


def message(to, **headers):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"Wäxwing <app@{DOMAIN}>", to, SUBJECT
    for name, value in headers.items():
        mail["X-Mailgun-" + name.replace("_", "-")] = value
    mail.set_content(TEXT)
    return mail


def with_smtplib(password):
    with client(password) as smtp:
        mail = message("one@verified.test", Require_TLS="yes", Tag="first")
        mail.add_alternative(HTML, subtype="html")
        mail.add_attachment(ATTACHMENT, maintype="application", subtype="octet-stream", filename=ATTACHMENT_NAME)
        smtp.send_message(mail, to_addrs=["one@verified.test", "hidden@verified.test"])
        # On the same connection, with the settings the other way round.
        smtp.send_message(message("open@plain.test", Require_TLS="no"))
        smtp.send_message(message("demanded@plain.test", Require_TLS="yes"))
        smtp.send_message(message("skipped@verified.test", Require_TLS="yes", Skip_Verification="yes"))
    for name in ("one", "hidden"):
        expect(f"{name}'s mail", VERIFIED, how(DOMAIN, f"{name}@verified.test"))
    expect("plaintext", PLAINTEXT, how(DOMAIN, "open@plain.test"))
    expect("demanded, none there", ("failed", "temporary", "4.7.4"), how(DOMAIN, "demanded@plain.test"))
    expect("without verification", UNVERIFIED, how(DOMAIN, "skipped@verified.test"))
    arrived = kept(SINK_VERIFIED, "one@verified.test")
    expect_intact(arrived)
    expect("no option header", [], [name for name in arrived if name.startswith("X-Mailgun-")])
    event = outcome(DOMAIN, "one@verified.test")
    expect("tags", ["first"], event["tags"])

    with client(password) as smtp:
        smtp.send_message(message("options@verified.test", Variables='{"order": "7"}', Dkim="no", Track="no"))
        smtp.send_message(message("dropped@verified.test", Drop_Message="yes"))
    expect("variables", {"order": "7"}, outcome(DOMAIN, "options@verified.test")["user-variables"])
    arrived = kept(SINK_VERIFIED, "options@verified.test")
    expect("unsigned", None, arrived["DKIM-Signature"])
    expect("variables on the way", '{"order":"7"}', arrived["X-Mailgun-Variables"].replace(" ", ""))
    expect("dropped", 650, outcome(DOMAIN, "dropped@verified.test")["delivery-status"]["code"])

    with client(password, implicit=True) as smtp:
        for mechanism in ("PLAIN", "LOGIN"):
            expect(mechanism, True, mechanism in smtp.esmtp_features["auth"].split())
        smtp.send_message(message("within@verified.test"))
        try:
            smtp.send_message(message("one@verified.test", Require_TLS="perhaps"))
            raise SystemExit("FAILED: a bad option was taken")
        except smtplib.SMTPDataError as error:
            expect("the refusal", (550, True), (error.smtp_code, b"X-Mailgun-Require-TLS" in error.smtp_error))
        smtp.send_message(message("after@verified.test"))
    expect("within TLS", VERIFIED, how(DOMAIN, "within@verified.test"))
    expect("after a refusal", VERIFIED, how(DOMAIN, "after@verified.test"))
    try:
        client("wrong")
        raise SystemExit("FAILED: a wrong password was taken")
    except smtplib.SMTPAuthenticationError as error:
        expect("wrong password", 535, error.smtp_code)
    clear = smtplib.SMTP("localhost", int(PORT), timeout=30)
    clear.ehlo()
    expect("AUTH in the clear", False, clear.has_extn("auth"))
    expect("MAIL in the clear", 530, clear.mail("a@b.test")[0])
    clear.quit()
    print("smtplib: both ports, both TLS settings, a refusal, a wrong password")


def with_notifications(password):
    """A failure is told by mail, in a form that Python's own parser takes apart."""
    with client(password) as smtp:
        expect("DSN", True, smtp.has_extn("dsn"))
        smtp.sendmail("told@verified.test", ["rejected@verified.test"], message("rejected@verified.test").as_bytes(policy=email.policy.SMTP),
                      ["RET=HDRS", "ENVID=QQ314159"], ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;alias+2Bx@verified.test"])
    expect("how the notification went", VERIFIED, how(DOMAIN, "told@verified.test"))
    told = kept(SINK_VERIFIED, "told@verified.test")
    expect("return path", "", told["X-Sink-From"])
    expect("kind", ("multipart/report", "delivery-status"), (told.get_content_type(), told["Content-Type"].params["report-type"]))
    expect("defects", [], [defect for part in told.walk() for defect in part.defects])
    words, report, header = told.iter_parts()
    expect("words", True, "It could not be delivered to:" in words.get_content())
    expect("report", "message/delivery-status", report.get_content_type())
    whole, recipient = report.get_payload()
    expect("envelope id", "QQ314159", whole["Original-Envelope-Id"])
    expect("who reports", "dns; sender.waxwing.test", whole["Reporting-MTA"])
    expect("original recipient", "rfc822; alias+x@verified.test", recipient["Original-Recipient"])
    expect("final recipient", "rfc822; rejected@verified.test", recipient["Final-Recipient"])
    expect("action", ("failed", "5"), (recipient["Action"], recipient["Status"][:1]))
    expect("diagnostic", True, recipient["Diagnostic-Code"].startswith("smtp; 5"))
    expect("header", True, header.get_content_type() == "text/rfc822-headers" and "Subject: " in header.get_content())
    print("notifications: a failure, as Python's email package reads it")


def with_swaks(password):
    if not shutil.which("swaks"):
        return print("without swaks, which is not installed (script/bootstrap)")
    for number, way in enumerate((["--tls", "--port", PORT], ["--tls-on-connect", "--port", TLS_PORT], ["--tls", "--port", PORT, "--pipeline"])):
        for mechanism in ("PLAIN", "LOGIN"):
            to = f"swaks{number}{mechanism.lower()}@verified.test"
            said = subprocess.run(
                ["swaks", "--server", "localhost", *way, "--tls-verify", "--tls-ca-path", CA, "--tls-protocol", "tlsv1_3",
                 "--auth", mechanism, "--auth-user", LOGIN, "--auth-password", password, "--to", to,
                 "--from", f"app@{DOMAIN}", "--h-X-Mailgun-Require-TLS", "yes", "--body", "line\n.\n..dots"],
                capture_output=True, text=True, timeout=60)
            expect(f"swaks: {said.stdout}{said.stderr}", 0, said.returncode)
            expect("swaks", VERIFIED, how(DOMAIN, to))
            arrived = kept(SINK_VERIFIED, to)
            expect("swaks' dots", "line\n.\n..dots", arrived.get_content().replace("\r\n", "\n").strip())
    print("swaks: both ports, PLAIN and LOGIN, pipelined")


def with_msmtp(password):
    if not shutil.which("msmtp"):
        return print("without msmtp, which is not installed (script/bootstrap)")
    for port, starttls in ((PORT, "on"), (TLS_PORT, "off")):
        to = f"msmtp{starttls}@verified.test"
        said = subprocess.run(
            ["msmtp", "--file=/dev/null", "--host=localhost", f"--port={port}", "--auth=on", f"--user={LOGIN}", "--tls=on",
             f"--passwordeval=cat {SCRATCH}/password", f"--tls-starttls={starttls}", f"--tls-trust-file={CA}",
             f"--from=app@{DOMAIN}", to],
            input=message(to, Require_TLS="yes").as_bytes(), capture_output=True, timeout=60)
        expect(f"msmtp: {said.stderr}", 0, said.returncode)
        expect("msmtp", VERIFIED, how(DOMAIN, to))
    print("msmtp: both ports")


if __name__ == "__main__":
    main()
