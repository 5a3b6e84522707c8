"""Turn each failure of a sign-in at CIAM into one answer for the user.

The path of a failure::

    something fails       client/ (around every call to CIAM)      raise CiamError(...) in a project
            └─────────────────────────────► errors.py ◄─────────────────────────┘
                                        CiamError: has a code
                                                │ raised through the view
    entry points    middleware.py ──────────────┼────── drf/    (login/ answers its own errors)
                                                ▼
    lookup.py                   meaning_of(...)    settings, row, family, type code, UNKNOWN
    codes.py, kinds.py              └► Meaning(kind, message, field, ...)
    answers.py                  answer_to(error)   localized: Answer(status, code, detail, ...)
    reporting.py                    └► report(error): one log line, one signal
    responses.py (HTML or JSON) ◄───────────────┴─────► drf/ (a response of REST framework)

No step calls an earlier step. The modules and packages:

The path of a failure
    errors.py        CiamError, Stage and raising_ciam_errors()
    privacy.py       redacted texts, cleared frames, requests without their data
    events.py        the table of the events: log lines with fields, and observers
    kinds.py         Kind -> status, title, action, audience and log level
    codes.py         the table: code -> Meaning
    languages.py     the language of the texts
    lookup.py        code -> Meaning, with the overrides of the project
    answers.py       CiamError -> Answer
    reporting.py     CiamError -> one log line and one signal
    ways_out.py      Answer -> the link out of its page
    responses.py     Answer -> HTML or JSON
Entry points
    middleware.py    Django views
    drf/             REST framework, one file per optional package
For the code of projects
    forms.py         a CiamError at its field of a form
    tokens.py        the access token of the signed-in user, and the user of a bearer token
    coroutines.py    the same functions for coroutines
    axes.py          the answer and the names for django-axes
    network.py       the client's address behind proxies
    ninja.py         the bearer tokens for django-ninja
    templatetags/    the template tags of {% load ciam %}
Calls to CIAM
    client/          the HTTP transport, the Authlib app and the API of CIAM
Sign-in
    login/           the views of a sign-in, and the state between two requests
    login/steps/     the steps of a flow: the table, the forms and the requests
    urls.py          the URL patterns of login/
    accounts/        a second app: identities, users, sessions, tokens and rate limits
Wiring
    apps.py          the app, which registers the checks
    conf.py          the settings, one row for each setting
    provider_names.py  the names of the social providers
    lazy_modules.py  a module that is imported when it is first used
    phone_numbers.py phonenumbers, imported when a number is first parsed
    signals.py       the signals for projects
    failure_memory.py  the failures of the last day in the shared cache
    error_table/     the table of codes for manage.py ciam_errors
    checks/          the messages of ``manage.py check``
    metrics/         the counts of the events, for OpenTelemetry and Prometheus
    testing/         a fake CIAM over HTTP, for tests

The documentation names only the places that ``tests/test_public_places.py`` lists.
"""

from __future__ import annotations

__version__ = "0.1.0"
