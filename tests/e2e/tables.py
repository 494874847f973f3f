"""Other people's tables, as facts: columns, types, engines and character sets of each version of Homer's, Kamailio's and OpenSIPS'
sip_capture. `variants()` gives CREATE TABLE statements."""

# name: type of the column in Homer 3's version 4. Order is that of the table.
V4 = {
    "id": "bigint(20) unsigned NOT NULL AUTO_INCREMENT", "date": "timestamp NOT NULL DEFAULT '2000-01-01 00:00:00'",
    "micro_ts": "bigint(18) NOT NULL DEFAULT 0", "method": "varchar(50) NOT NULL DEFAULT ''", "reply_reason": "varchar(100) NOT NULL",
    "ruri": "varchar(200) NOT NULL DEFAULT ''", "ruri_user": "varchar(100) NOT NULL DEFAULT ''",
    "ruri_domain": "varchar(150) NOT NULL DEFAULT ''", "from_user": "varchar(100) NOT NULL DEFAULT ''",
    "from_domain": "varchar(150) NOT NULL DEFAULT ''", "from_tag": "varchar(64) NOT NULL DEFAULT ''",
    "to_user": "varchar(100) NOT NULL DEFAULT ''", "to_domain": "varchar(150) NOT NULL DEFAULT ''", "to_tag": "varchar(64) NOT NULL",
    "pid_user": "varchar(100) NOT NULL DEFAULT ''", "contact_user": "varchar(120) NOT NULL", "auth_user": "varchar(120) NOT NULL",
    "callid": "varchar(120) NOT NULL DEFAULT ''", "callid_aleg": "varchar(120) NOT NULL DEFAULT ''", "via_1": "varchar(256) NOT NULL",
    "via_1_branch": "varchar(80) NOT NULL", "cseq": "varchar(25) NOT NULL", "diversion": "varchar(256) NOT NULL",
    "reason": "varchar(200) NOT NULL", "content_type": "varchar(256) NOT NULL", "auth": "varchar(256) NOT NULL",
    "user_agent": "varchar(256) NOT NULL", "source_ip": "varchar(60) NOT NULL DEFAULT ''", "source_port": "int(10) NOT NULL",
    "destination_ip": "varchar(60) NOT NULL DEFAULT ''", "destination_port": "int(10) NOT NULL", "contact_ip": "varchar(60) NOT NULL",
    "contact_port": "int(10) NOT NULL", "originator_ip": "varchar(60) NOT NULL DEFAULT ''", "originator_port": "int(10) NOT NULL",
    "correlation_id": "varchar(256) NOT NULL", "proto": "int(5) NOT NULL", "family": "int(1) DEFAULT NULL",
    "rtp_stat": "varchar(256) NOT NULL", "type": "int(2) NOT NULL", "node": "varchar(125) NOT NULL", "msg": "varchar(1500) NOT NULL",
}
KEYS = ["ruri_user", "from_user", "to_user", "pid_user", "auth_user", "callid_aleg", "date", "callid"]
COMPRESSED = "ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 DEFAULT CHARSET=utf8"
MYISAM = "ENGINE=MyISAM DEFAULT CHARSET=utf8"
OLD_PARTITIONS = ["p2013082901 VALUES LESS THAN (1377734400)", "p2013090822 VALUES LESS THAN (1378674000)",
                  "p2013090823 VALUES LESS THAN (1378677600)"]


def without(columns, *names):
    return {c: t for c, t in columns.items() if c not in names}


def changed(columns, **types):
    return {**columns, **types}


def renamed(columns, old, new):
    return {new if c == old else c: t for c, t in columns.items()}


def behind(columns, after, **more):
    """More columns behind a given one."""
    out = {}
    for c, t in columns.items():
        out[c] = t
        if c == after:
            out.update(more)
    return out


def create(columns, engine, partitions=(), table="sip_capture"):
    lines = [f"`{c}` {t}" for c, t in columns.items()] + ["PRIMARY KEY (`id`,`date`)"] + [f"KEY `{k}` (`{k}`)" for k in KEYS if k in columns]
    parts = ", ".join(f"PARTITION {p}" for p in [*partitions, "pmax VALUES LESS THAN MAXVALUE"])
    return f"CREATE TABLE `{table}` ({', '.join(lines)}) {engine} PARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) ({parts})"


V3 = changed(without(V4, "correlation_id"), callid="varchar(100) NOT NULL DEFAULT ''", diversion="varchar(256) NOT NULL DEFAULT ''")
V2 = without(V3, "ruri_domain", "from_domain", "to_domain")
IP50 = {"source_ip": "varchar(50) NOT NULL DEFAULT ''", "destination_ip": "varchar(50) NOT NULL DEFAULT ''"}
OPENSIPS = renamed(changed(V2, msg="text NOT NULL", **IP50), "auth", "authorization")
OPENSIPS_22 = behind(behind(behind(renamed(OPENSIPS, "authorization", "auth"), "from_user", from_domain=V4["from_domain"]), "to_user",
                            to_domain=V4["to_domain"]), "originator_port", correlation_id="varchar(256) NOT NULL DEFAULT ''")
CUSTOM = {f"custom_field{n}": "varchar(120) NOT NULL DEFAULT ''" for n in (1, 2, 3)}
HOMER5 = behind(behind({c: t if "DEFAULT" in t or "AUTO" in t else t + (" DEFAULT 0" if t.startswith("int") else " DEFAULT ''")
                        for c, t in V4.items()}, "originator_port", expires="int(5) NOT NULL DEFAULT -1"), "correlation_id", **CUSTOM)

VARIANTS = {
    "homer3_v2": create(V2, COMPRESSED),
    "homer3_v3": create(V3, COMPRESSED, OLD_PARTITIONS),
    "homer3_v4": create(V4, COMPRESSED, OLD_PARTITIONS),
    "homer5": create(changed(HOMER5, msg="varchar(3000) NOT NULL DEFAULT ''"), COMPRESSED),
    "kamailio_32": create(renamed(changed(V2, msg="text NOT NULL", **IP50), "auth", "authorization"), MYISAM),
    "kamailio_40": create(changed(V2, msg="text NOT NULL", **IP50), MYISAM),
    "kamailio_42": create(changed(V4, callid="varchar(100) NOT NULL DEFAULT ''"), COMPRESSED),
    "opensips_18": create(OPENSIPS, MYISAM),
    "opensips_22": create(OPENSIPS_22, MYISAM),
    "opensips_24": create(behind(OPENSIPS_22, "correlation_id", **CUSTOM), MYISAM),
    "both_names_of_auth": create(behind(V4, "auth", authorization="varchar(100) NOT NULL"), COMPRESSED),
    "latin1": create(V4, "ENGINE=InnoDB DEFAULT CHARSET=latin1"),
    "with_columns_of_others": create(behind(V4, "msg", remark="varchar(20) NOT NULL DEFAULT 'theirs'"), COMPRESSED),
}
