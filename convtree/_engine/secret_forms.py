"""The forms of tokens by which their providers make them known: a head such as `ghp_`, and what stands behind it. Pure.

Written from what the providers document about their tokens; the comment above each group says where that is. Only the
form counts, not how random a token looks. A form whose head is rare is found inside a word, too, as in `-pghp_…`; the
others only where a word begins. Forms with a common head, or none, have the exact length that the provider documents.

Nothing here looks further than a bounded number of characters ahead before it consumes them, so a search is linear.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import cache

_A, _W, _H, _B = "[A-Za-z0-9]", "[A-Za-z0-9_-]", "[0-9a-fA-F]", "[A-Za-z0-9+/]"
_UUID = f"{_H}{{8}}-{_H}{{4}}-{_H}{{4}}-{_H}{{4}}-{_H}{{12}}"
_END, _HEX_END = "(?![A-Za-z0-9_-])", "(?![0-9a-zA-Z])"
#: an upper-case letter or a digit comes soon: no identifier of several words
_MIXED = "(?=[a-z_-]{0,40}[A-Z0-9])"
_DIGIT = "(?=[A-Za-z_/+-]{0,40}[0-9])"

Form = tuple[str, str, str]  # kind, heads (patterns, separated by blanks), what stands behind

#: found wherever they stand
RARE: tuple[Form, ...] = (
    # models and what serves them: docs.anthropic.com, platform.openai.com, huggingface.co/docs/hub/security-tokens,
    # console.groq.com, docs.x.ai, docs.perplexity.ai, replicate.com/docs, docs.nvidia.com/nim, openrouter.ai/docs
    ("anthropic_key", "sk-ant-", f"{_W}{{16,}}"),
    ("openrouter_key", "sk-or-v1-", f"{_A}{{20,}}"),
    ("openai_key", "sk-proj- sk-svcacct- sk-admin-", f"{_MIXED}{_W}{{20,}}"),
    ("langfuse_key", "sk-lf- pk-lf-", _UUID),
    ("provider_key", "nvapi- tgp_v1_", f"{_W}{{20,}}"),
    ("provider_key", "gsk_ pplx- api_org_", f"{_A}{{20,}}"),
    ("langsmith_key", "lsv2_pt_ lsv2_sk_", f"{_A}{{20,}}"),
    ("pinecone_key", "pcsk_", f"{_A}{{4,16}}_{_A}{{20,}}"),
    ("tavily_key", "tvly-", f"{_MIXED}{_W}{{20,}}"),
    ("jina_key", "jina_", f"{_DIGIT}{_W}{{30,}}"),
    ("cerebras_key", "csk-", f"{_A}{{32,}}"),
    ("anyscale_key", "esecret_", f"{_A}{{20,}}"),
    ("vercel_token", "vcp_ vci_ vca_ vcr_ vck_", f"{_A}{{24,}}"),
    ("wandb_key", "wandb_v1_", f"{_W}{{20,}}"),
    ("logfire_token", "pylf_v1_", f"{_W}{{20,}}"),
    ("browserbase_key", "bb_live_", f"{_W}{{20,}}"),
    ("context7_key", "ctx7sk-", f"{_W}{{20,}}"),
    # Google: cloud.google.com/docs/authentication/token-types, developers.google.com/identity/protocols/oauth2
    ("google_key", "AIza", f"{_W}{{35,}}"),
    ("google_oauth_secret", "GOCSPX-", f"{_W}{{20,}}"),
    ("google_oauth_token", r"ya29\.", f"{_W}{{20,}}"),
    # AWS: docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html, docs.aws.amazon.com/bedrock (API keys)
    ("aws_session_token", "IQoJb3JpZ2lu FwoGZXIvYXdz FQoGZXIvYXdz", f"{_B}{{60,}}={{0,2}}"),
    ("bedrock_key", "bedrock-api-key-", f"{_B}{{20,}}={{0,2}}"),
    ("amazon_oauth_secret", r"amzn1\.oa2-cs\.v1\.", f"{_H}{{32,}}"),
    ("amazon_mws_token", r"amzn\.mws\.", _UUID),
    ("amazon_login_token", r"Atza\| Atzr\|", f"{_W}{{40,}}"),
    # other clouds: docs.digitalocean.com, cloud.yandex.com, fly.io/docs, devcenter.heroku.com, databricks, planetscale
    ("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", f"{_A}{{40,}}"),
    ("fly_token", "fo1_ fm1r_ fm1a_ fm2_", f"{_DIGIT}[A-Za-z0-9+/_-]{{40,}}={{0,3}}"),
    ("heroku_key", "HRKU-", f"{_W}{{30,}}"),
    ("planetscale_token", "pscale_tkn_ pscale_oauth_ pscale_pw_", r"[A-Za-z0-9_.=-]{32,}"),
    ("supabase_key", "sbp_", f"{_A}{{40,}}"),
    ("supabase_key", "sb_secret_", f"{_W}{{20,}}"),
    ("neon_key", "napi_", f"{_A}{{40,}}"),
    ("aiven_password", "AVNS_", f"{_MIXED}{_W}{{15,}}"),
    ("cloudflare_origin_key", r"v1\.0-", f"{_H}{{24}}-{_H}{{100,}}"),
    ("cloudflare_token", "cfut_ cfat_ cfk_", f"{_W}{{36,}}"),
    ("openshift_token", "sha256~", f"{_W}{{43,}}"),
    # vaults and infrastructure: developer.hashicorp.com, pulumi.com/docs, docs.doppler.com, developer.1password.com,
    # age-encryption.org, tailscale.com/kb, docs.defined.net, infisical.com/docs
    ("vault_token", r"hvs\. hvb\. hvr\.", f"{_W}{{24,}}"),
    ("doppler_token", r"dp\.pt\. dp\.st\. dp\.ct\. dp\.sa\. dp\.scim\. dp\.audit\.", r"[A-Za-z0-9_.-]{40,}"),
    ("1password_token", "ops_eyJ", f"{_B}{{40,}}={{0,3}}"),
    ("age_key", "AGE-SECRET-KEY-1 AGE-PLUGIN-", "[A-Z0-9-]{40,}"),
    ("tailscale_key", "tskey-", f"(?:[a-z]+-)?{_A}{{6,}}-{_A}{{16,}}"),
    ("defined_token", "dnkey-", "[A-Za-z0-9_=-]{26,}"),
    ("prefect_key", "pnu_ pnb_", f"{_A}{{36,}}"),
    ("scalingo_token", "tk-us-", f"{_W}{{40,}}"),
    ("dynatrace_token", r"dt0[a-z][0-9]{2}\.", rf"{_A}{{8,64}}\.{_A}{{24,}}"),
    # repositories of code, packages and images: docs.github.com/authentication, docs.gitlab.com/ee/security/tokens,
    # docs.npmjs.com, pypi.org/help, guides.rubygems.org, clojars, docs.docker.com, jfrog.com/help
    ("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", f"{_A}{{36,}}"),
    ("github_token", "github_pat_", "[A-Za-z0-9_]{22,}"),
    ("gitlab_token", "glpat- gldt- glrt- glft- glsoat- glimt- glagent- gloas- glptt- glffct-", r"[A-Za-z0-9_.-]{20,}"),
    ("gitlab_token", "glcbt- glrtr- glwt- GR1348941", f"{_W}{{20,}}"),
    ("gitlab_session", "_gitlab_session=", f"{_A}{{20,}}"),
    ("sidekiq_key", "BUNDLE_ENTERPRISE__CONTRIBSYS__COM BUNDLE_GEMS__CONTRIBSYS__COM", f"=[ \"']?{_H}{{8}}:{_H}{{8}}"),
    ("atlassian_token", "ATATT3 ATCTT3", f"{_MIXED}[A-Za-z0-9_=-]{{24,}}"),
    ("npm_token", "npm_", f"{_A}{{36}}{_END}"),
    ("pypi_token", "pypi-AgE", f"{_W}{{40,}}"),
    ("rubygems_key", "rubygems_", f"{_A}{{40,}}"),
    ("clojars_token", "CLOJARS_", f"{_A}{{50,}}"),
    ("docker_token", "dckr_pat_ dckr_oat_", f"{_W}{{20,}}"),
    ("circleci_token", "CCIPAT_ CCIPRJ_", f"{_W}{{20,}}"),
    ("buildkite_token", "bkua_ bkaj_ bkct_", f"{_A}{{32,}}"),
    ("sonar_token", "squ_ sqp_ sqa_", f"{_A}{{40}}{_END}"),
    ("sourcegraph_token", "sgp_", f"(?:{_A}{{5,16}}_)?{_A}{{40}}{_END}"),
    ("artifactory_key", "AKCp", f"{_A}{{60,}}"),
    ("postman_key", "PMAK- PMAT-", f"{_W}{{26,}}"),
    ("readme_key", "rdme_", f"{_A}{{60,}}"),
    # what watches over services: docs.sentry.io, grafana.com/docs, docs.newrelic.com, posthog.com/docs, axiom.co/docs
    ("sentry_token", "sntrys_ sntryu_ sntrya_ sntryi_", r"[A-Za-z0-9+/_=-]{40,}"),
    ("grafana_token", "glc_", f"{_B}{{32,}}={{0,3}}"),
    ("grafana_token", "glsa_", f"{_A}{{32}}_{_A}{{8}}"),
    ("grafana_key", "eyJrIjoi", f"{_B}{{40,}}={{0,3}}"),
    ("newrelic_key", "NRAK- NRJS- NRII- NRRA- NRIQ-", f"{_W}{{19,}}"),
    ("posthog_key", "phc_ phx_ phs_", f"{_A}{{32,}}"),
    ("axiom_token", "xaat- xapt-", _UUID),
    ("honeycomb_key", "hcaik_ hcxik_ hcbik_", f"{_A}{{32,}}"),
    # payment: docs.stripe.com/keys, developer.squareup.com, plaid.com/docs, flutterwave, goshippo, duffel, easypost
    ("stripe_key", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", f"{_A}{{10,}}"),
    ("stripe_secret", "whsec_", r"[A-Za-z0-9+/]{24,}={0,2}"),
    ("square_token", "sq0atp- sq0csp- sq0asp-", f"{_W}{{22,}}"),
    ("plaid_token", "access-sandbox- access-development- access-production-", _UUID),
    ("flutterwave_key", "FLWSECK_TEST- FLWPUBK_TEST- FLWSECK- FLWPUBK-", f"{_A}{{12,}}(?:-X)?"),
    ("razorpay_key", "rzp_live_ rzp_test_", f"{_A}{{14,}}"),
    ("shippo_token", "shippo_live_ shippo_test_", f"{_A}{{32,}}"),
    ("duffel_token", "duffel_live_ duffel_test_", "[A-Za-z0-9_=-]{32,}"),
    ("paypal_token", r"access_token\$production\$ access_token\$sandbox\$", r"[a-z0-9]{8,64}\$[a-f0-9]{24,}"),
    ("shopify_token", "shpat_ shpca_ shppa_ shpss_ shptka_ shpua_ shpsa_", f"{_A}{{32,}}"),
    # messages and mail: api.slack.com/authentication/token-types, docs.sendgrid.com, developers.brevo.com, resend.com
    ("slack_token", "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xoxc- xoxd- xapp- xwfp-", f"{_W}{{10,}}"),
    ("slack_token", r"xoxe\.xoxb- xoxe\.xoxp-", f"{_W}{{10,}}"),
    ("slack_webhook", r"hooks\.slack\.com/services/ hooks\.slack\.com/workflows/ hooks\.slack\.com/triggers/",
     "[A-Za-z0-9+/]{24,}"),
    ("slack_webhook", r"hooks\.slack-gov\.com/services/", "[A-Za-z0-9+/]{24,}"),
    ("discord_webhook", r"discord\.com/api/webhooks/ discordapp\.com/api/webhooks/", f"[0-9]{{10,}}/{_W}{{30,}}"),
    ("teams_webhook", r"webhook\.office\.com/webhookb2/ outlook\.office\.com/webhook/",
     r"[A-Za-z0-9@/-]{36,}"),
    ("brevo_key", "xkeysib- xsmtpsib-", f"{_W}{{40,}}"),
    ("intercom_token", "dG9rO", f"{_B}{{40,}}={{0,2}}"),
    ("hubspot_token", "pat-na1- pat-na2- pat-na3- pat-eu1- pat-ap1-", _UUID),
    # work together: developers.notion.com, developers.linear.app, figma.com/developers, contentful, typeform, dropbox
    ("notion_token", "ntn_", f"{_A}{{40,}}"),
    ("linear_key", "lin_api_ lin_oauth_", f"{_A}{{32,}}"),
    ("figma_token", "figd_ figu_ figo_ figdr_ figur_", f"{_W}{{36,}}"),
    ("contentful_token", "CFPAT-", f"{_W}{{40,}}"),
    ("typeform_token", "tfp_", r"[A-Za-z0-9_.=-]{40,}"),
    ("adobe_secret", "p8e-", f"{_A}{{32}}{_END}"),
    ("frameio_token", "fio-u-", r"[A-Za-z0-9_=-]{50,}"),
    ("pinterest_token", "pina_", f"{_A}{{32,}}"),
    ("adafruit_key", "aio_", f"(?=[A-Za-z]{{0,20}}[0-9]){_A}{{28}}{_END}"),
    ("settlemint_token", "sm_aat_ sm_pat_ sm_sat_", f"{_A}{{16,}}"),
    ("intra42_secret", "s-s4t2ud- s-s4t2af-", f"{_A}{{40,}}"),
    ("akamai_token", "akab-", f"{_A}{{16}}-{_A}{{16}}"),
    ("stytch_secret", "secret-live- secret-test-", f"{_W}{{30,100}}="),
    ("retool_token", "retool_", f"{_DIGIT}{_A}{{20,}}"),
    ("docker_swarm_token", "SWMTKN-1- SWMKEY-1-", f"{_W}{{24,}}"),
    ("kubernetes_token", r"k8s-aws-v1\.", f"{_W}{{40,}}"),
    ("zapier_webhook", r"hooks\.zapier\.com/hooks/catch/", "[0-9]{4,}/[A-Za-z0-9]{5,}"),
    ("softlayer_key", r"api\.softlayer\.com/soap/v3/ api\.softlayer\.com/soap/v3\.1/", "[a-z0-9]{64}"),
    ("ssh_key", "b3BlbnNzaC1rZXktdjE", f"{_B}{{20,}}={{0,2}}"),
    # wallets: bips.dev/32, nostr-protocol/nips/19
    ("extended_private_key", "xprv9 xprvA", f"{_A}{{90,}}"),
    ("nostr_key", "nsec1", f"[a-z0-9]{{58}}{_END}"),
)  # fmt: skip


def _encoded(text: str) -> str:
    """Returns what the base64 of a text that begins so begins with."""
    whole = len(text) // 3 * 3
    return re.escape(b64encode(text[:whole].encode()).decode())


_PRIVATE = [f"-----BEGIN {which}PRIVATE KEY-----" for which in ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ")]

#: found only where a word begins
USUAL: tuple[Form, ...] = (
    # models and what serves them, as above; docs.litellm.ai, elevenlabs.io/docs, docs.fireworks.ai, fal.ai/docs
    ("openai_key", "sk-", f"(?!ant-){_MIXED}{_W}{{20,}}"),
    ("openai_key", "sess-", f"{_A}{{40}}{_END}"),
    ("provider_key", "xai- hf_ r8_", f"{_A}{{20,}}"),
    ("fireworks_key", "fw_", f"{_DIGIT}{_A}{{22,}}"),
    ("elevenlabs_key", "sk_", f"{_DIGIT}{_A}{{29,}}"),
    ("e2b_key", "e2b_", f"{_H}{{40}}{_END}"),
    ("firecrawl_key", "fc-", f"{_H}{{32}}{_END}"),
    ("voyage_key", "pa- al-", f"{_MIXED}{_W}{{43}}{_END}"),
    ("runpod_key", "rpa_", f"{_A}{{30,}}"),
    ("render_key", "rnd_", f"{_DIGIT}{_A}{{28,}}"),
    ("mem0_key", "m0-", f"{_MIXED}{_A}{{36,}}"),
    ("brave_key", "BSA", f"{_MIXED}{_W}{{27,28}}{_END}"),
    ("fal_key", "", f"{_UUID}:{_H}{{32}}{_HEX_END}"),
    ("zhipu_key", "", rf"{_H}{{32}}\.{_A}{{16}}{_END}"),
    # Google and Firebase, as above
    ("google_key", r"AQ\.A", f"{_W}{{40,}}"),
    ("google_oauth_token", "1//0 4/0A", f"{_W}{{30,}}"),
    ("firebase_key", "AAAA", f"{_W}{{7}}:{_W}{{130,}}"),
    ("recaptcha_key", "6L[a-f]", f"{_W}{{37}}{_END}"),
    # clouds: docs.aws.amazon.com (unique identifiers), alibabacloud.com/help, cloud.tencent.com/document, scaleway.com,
    # learn.microsoft.com/purview (Azure secrets), docs.databricks.com, clickhouse.com/docs, yandex.cloud/docs
    ("aws_key_id", "AKIA ASIA ABIA ACCA A3T[A-Z0-9]", f"[A-Z0-9]{{16}}{_END}"),
    ("bedrock_key", "ABSK", f"{_B}{{60,}}={{0,2}}"),
    ("alibaba_key_id", "LTAI", f"{_DIGIT}{_A}{{16,24}}{_END}"),
    ("tencent_key_id", "AKID", f"{_A}{{32}}{_END}"),
    ("scaleway_key", "SCW", f"[A-Z0-9]{{17}}{_END}"),
    ("azure_secret", "", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}" + _END),
    ("azure_key", "", f"{_A}{{52}}JQQJ99{_A}{{10,30}}"),
    ("databricks_token", "dapi dkea dsapi", f"{_H}{{32}}(?:-[0-9])?{_END}"),
    ("clickhouse_key", "4b1d", f"{_A}{{38}}{_END}"),
    ("yandex_token", r"t1\.", rf"[A-Za-z0-9_-]{{4,}}={{0,2}}\.{_W}{{80,}}={{0,2}}"),
    ("yandex_token", "y0_ y1_", f"{_MIXED}{_W}{{36,}}"),
    ("yandex_key", "AQVN", f"{_W}{{35,38}}{_END}"),
    ("yandex_key", "YC[A-Z]", f"{_DIGIT}{_W}{{37}}{_END}"),
    ("netlify_token", "nfp_ nfc_ nfo_ nfu_", f"{_A}{{36,}}"),
    ("huawei_key_id", "HPUA", f"[A-Z0-9]{{16}}{_END}"),
    # vaults and infrastructure, as above; developer.hashicorp.com/terraform/cloud-docs, developer.harness.io
    ("vault_token", r"s\.", f"{_MIXED}{_A}{{24}}{_END}"),
    ("terraform_token", "", rf"{_A}{{14}}\.atlasv1\.[A-Za-z0-9_=-]{{40,}}"),
    ("1password_key", "A3-", "[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}"),
    ("harness_key", r"pat\. sat\.", rf"{_W}{{22}}\.{_A}{{24}}\.{_A}{{20}}"),
    ("pulumi_token", "pul-", f"{_A}{{40}}{_END}"),
    ("infracost_key", "ico-", f"{_A}{{32}}{_END}"),
    ("octopus_key", "API-", f"[A-Z0-9]{{25,32}}{_END}"),
    ("launchdarkly_key", "sdk- mob- api-", _UUID),
    ("sourcegraph_token", "slk_ sgd_", f"{_A}{{40,64}}{_END}"),
    ("okta_token", "00", f"(?=[A-Z0-9_-]{{0,30}}[a-z])(?=[a-z0-9_-]{{0,30}}[A-Z]){_W}{{40}}{_END}"),
    ("authress_key", "sc_ ext_ scauth_ authress_", rf"{_A}{{5,30}}\.{_A}{{4,6}}\.acc[_-][A-Za-z0-9-]{{10,32}}\."
     r"[A-Za-z0-9+/_=-]{30,}"),
    # repositories of code, packages and images, as above; learn.microsoft.com/nuget, crates.io, support.atlassian.com
    ("nuget_key", "oy2", f"[a-z0-9]{{43}}{_END}"),
    ("crates_token", "cio", f"{_MIXED}{_A}{{32}}{_END}"),
    ("artifactory_token", "cmVmd", f"{_A}{{59}}{_END}"),
    ("bitbucket_password", "ATBB", f"{_A}{{28,}}"),
    ("trello_token", "ATTA", f"{_A}{{60,}}"),
    ("snyk_token", r"snyk_uat\. snyk_sat\.", r"[A-Za-z0-9_.-]{20,}"),
    ("newrelic_key", "", f"{_H}{{36}}NRAL{_END}"),
    # payment: docs.lob.com, developer.gocardless.com, docs.mollie.com, freemius.com/help, squareup, docs.easypost.com
    ("lob_key", "live_ test_", f"{_H}{{35}}{_END}"),
    ("lob_key", "live_pub_ test_pub_", f"{_H}{{31}}{_END}"),
    ("gocardless_token", "live_ sandbox_", f"{_MIXED}[A-Za-z0-9_=-]{{40}}{_END}"),
    ("mollie_key", "live_ test_", f"(?=[A-Za-z]{{0,29}}[0-9]){_A}{{30}}{_END}"),
    ("freemius_key", "sk_", r"(?=[A-Za-z]{0,26}[0-9~!@#$%^&*?+=|.:])[^\s_\"'\\\[\]<>(),;]{29}(?![A-Za-z0-9])"),
    ("square_token", "EAAA", f"{_MIXED}{_W}{{22,60}}{_END}"),
    ("easypost_key", "EZAK EZTK", f"{_A}{{54}}{_END}"),
    # messages and mail: core.telegram.org/bots, discord.com/developers, twilio.com/docs, mailchimp.com, mailgun.com
    ("telegram_token", "", f"[0-9]{{5,16}}:A{_W}{{34}}{_END}|[0-9]{{8,10}}:{_DIGIT}{_W}{{35}}{_END}"),
    ("discord_token", "[MNO]", rf"{_W}{{23,25}}\.{_W}{{6}}\.{_W}{{27,40}}{_END}"),
    ("discord_token", r"mfa\.", f"{_MIXED}{_W}{{60,}}"),
    ("twilio_key", "SK AC", f"{_H}{{32}}{_HEX_END}"),
    ("sendgrid_key", r"SG\.", rf"[A-Za-z0-9_=-]{{16,}}\.[A-Za-z0-9_=.-]{{16,}}|{_MIXED}[A-Za-z0-9_=.-]{{66}}"),
    ("mailchimp_key", "", f"{_H}{{32}}-us[0-9]{{1,2}}{_END}"),
    ("mailgun_key", "key- pubkey-", f"{_H}{{32}}{_END}"),
    ("mailgun_key", "", f"{_H}{{32}}-{_H}{{8}}-{_H}{{8}}{_END}"),
    ("mailgun_key", "", f"(?=[a-h0-9]{{0,31}}[gh])[a-h0-9]{{32}}-[a-h0-9]{{8}}-[a-h0-9]{{8}}{_END}"),
    ("mandrill_key", "md-", f"{_MIXED}{_W}{{22}}{_END}"),
    ("resend_key", "re_", f"{_A}{{8}}_{_A}{{24}}{_END}"),
    ("rapidapi_key", "", f"{_H}{{10}}msh{_H}{{15}}p1{_H}{{6}}jsn{_H}{{12}}"),
    # work together and media: airtable.com/developers, developers.asana.com, clickup.com/api, docs.mapbox.com,
    # dev.maxmind.com, dropbox.com/developers, getbeamer.com, help.salesforce.com
    ("airtable_token", "pat", rf"{_A}{{14}}\.{_H}{{64}}"),
    ("asana_token", "[0-2]/", f"(?<!/[0-2]/)(?:(?:[0-9]{{10,20}}/)?[0-9]{{10,20}}:{_H}{{32}}|{_H}{{32}}{_END})"),
    ("clickup_token", "pk_", f"[0-9]{{4,12}}_[A-Z0-9]{{32}}{_END}"),
    ("mapbox_token", r"pk\. sk\. tk\.", rf"{_A}{{60,}}\.{_W}{{20,}}"),
    ("maxmind_key", "", f"{_A}{{6}}_{_A}{{29}}_mmk"),
    ("dropbox_token", r"sl\.", r"[A-Za-z0-9_=.-]{130,}"),
    ("dropbox_token", "", f"{_A}{{11}}A{{10}}(?=[A-Z0-9_=-]{{0,40}}[a-z])[A-Za-z0-9_=-]{{43}}{_END}"),
    ("beamer_key", "b_", f"{_MIXED}[A-Za-z0-9_=-]{{44}}{_END}"),
    ("salesforce_token", "00D", r"[A-Za-z0-9]{12,15}![A-Za-z0-9._]{60,}"),
    # developers.facebook.com/docs, developer.x.com/docs, dev.twitch.tv/docs
    ("facebook_token", "EAA", f"{_MIXED}{_A}{{90,}}"),
    ("facebook_token", "", f"[0-9]{{15,16}}(?:%7[Cc]|[|%])(?=[0-9_-]{{0,24}}[A-Za-z]){_W}{{27,40}}{_END}"),
    ("instagram_token", "IGQ IGAA", f"{_MIXED}{_W}{{90,}}"),
    ("twitter_token", "A{20,22}", r"(?=[A-Za-z0-9]{0,80}[0-9%])[A-Za-z0-9%]{60,}"),
    ("twitter_token", "", f"[0-9]{{15,25}}-(?=[a-zA-Z]{{0,30}}[0-9])(?=[0-9]{{0,30}}[A-Za-z]){_A}{{40}}{_END}"),
    ("twitch_token", "oauth:", f"[a-z0-9]{{30}}{_END}"),
    # rfc7519; the second is one in base64 again
    ("jwt", "ey[JK]", rf"{_W}{{8,}}\.ey[JK]{_W}{{8,}}\.(?:{_W}{{8,}})?"),
    ("jwt", "eyJ", rf"{_W}{{16,}}\.\.{_W}{{16,}}\.{_W}{{16,}}\.{_W}{{16,}}|{_W}{{16,}}(?:\.{_W}{{16,}}){{4}}"),
    ("jwt", "ZXlK[a-d]", f"{_B}{{60,}}={{0,2}}"),
    ("private_key", " ".join(map(_encoded, _PRIVATE)), f"{_B}{{20,}}={{0,2}}"),
)  # fmt: skip


@cache
def searches() -> tuple[tuple[re.Pattern[str], ...], tuple[str, ...]]:
    """Returns patterns that find any form, and the kinds: the name of the last group is `f` and the number of a kind.

    They are compiled by the first redaction. Forms are put together by their first character, which makes a search of
    all of them cost little more than that of one.
    """
    kinds = tuple(dict.fromkeys(kind for kind, _, _ in (*RARE, *USUAL)))
    numbers = {kind: number for number, kind in enumerate(kinds)}
    rare = list(_alternatives(RARE, numbers))
    usual = list(_alternatives(USUAL, numbers))
    headless = [each for first, each in usual if not first]
    begin = r"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))"
    patterns = (
        _by_first(rare),
        begin + _by_first([(first, each) for first, each in usual if first]),
        f"{begin}(?:{'|'.join(headless)})",
    )
    return tuple(map(re.compile, patterns)), kinds


def _alternatives(forms: Iterable[Form], numbers: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yields the first character of each head, empty if it is none of its own, and a pattern of the whole form."""
    unique = 0
    for kind, heads, body in forms:
        for head in heads.split(" "):
            unique += 1
            first = re.match(r"[A-Za-z0-9_]", head)
            yield (
                first.group() if first and head[1:2] != "{" else "",
                f"{head}(?:{body})(?P<f{numbers[kind]}_{unique}>)",
            )


def _by_first(alternatives: Iterable[tuple[str, str]]) -> str:
    grouped: dict[str, list[str]] = {}
    for first, each in alternatives:
        grouped.setdefault(first, []).append(each.removeprefix(first))
    joined = [f"{first}(?:{'|'.join(each)})" for first, each in sorted(grouped.items())]
    return f"(?:{'|'.join(joined)})"
