-- heptap's own capture table for Homer 3, and the two small tables that make rows arrive exactly once.
-- The table's name and its partitions are filled in by `heptap schema print`.
--
-- Columns and names are those of Homer's sip_capture version 4, so that its pages find what they ask for; expires and
-- custom_field1..3 come from Homer 5. Differences: InnoDB DYNAMIC instead of COMPRESSED (half the cost of an insert), utf8mb4, a message
-- of any length, its exact octets in msg_raw where they are not valid text, ids drawn by heptap instead of AUTO_INCREMENT,
-- partitions by UTC day, and `authorization` as another name of `auth` for old habits.
CREATE TABLE IF NOT EXISTS `@TABLE@` (
  `id` bigint unsigned NOT NULL,
  `date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `micro_ts` bigint NOT NULL DEFAULT 0,
  `method` varchar(50) NOT NULL DEFAULT '',
  `reply_reason` varchar(100) NOT NULL DEFAULT '',
  `ruri` varchar(200) NOT NULL DEFAULT '',
  `ruri_user` varchar(100) NOT NULL DEFAULT '',
  `ruri_domain` varchar(150) NOT NULL DEFAULT '',
  `from_user` varchar(100) NOT NULL DEFAULT '',
  `from_domain` varchar(150) NOT NULL DEFAULT '',
  `from_tag` varchar(64) NOT NULL DEFAULT '',
  `to_user` varchar(100) NOT NULL DEFAULT '',
  `to_domain` varchar(150) NOT NULL DEFAULT '',
  `to_tag` varchar(64) NOT NULL DEFAULT '',
  `pid_user` varchar(100) NOT NULL DEFAULT '',
  `contact_user` varchar(120) NOT NULL DEFAULT '',
  `auth_user` varchar(120) NOT NULL DEFAULT '',
  `callid` varchar(120) NOT NULL DEFAULT '',
  `callid_aleg` varchar(120) NOT NULL DEFAULT '',
  `via_1` varchar(256) NOT NULL DEFAULT '',
  `via_1_branch` varchar(80) NOT NULL DEFAULT '',
  `cseq` varchar(25) NOT NULL DEFAULT '',
  `diversion` varchar(256) NOT NULL DEFAULT '',
  `reason` varchar(200) NOT NULL DEFAULT '',
  `content_type` varchar(256) NOT NULL DEFAULT '',
  `auth` varchar(256) NOT NULL DEFAULT '',
  `user_agent` varchar(256) NOT NULL DEFAULT '',
  `source_ip` varchar(60) NOT NULL DEFAULT '',
  `source_port` int NOT NULL DEFAULT 0,
  `destination_ip` varchar(60) NOT NULL DEFAULT '',
  `destination_port` int NOT NULL DEFAULT 0,
  `contact_ip` varchar(60) NOT NULL DEFAULT '',
  `contact_port` int NOT NULL DEFAULT 0,
  `originator_ip` varchar(60) NOT NULL DEFAULT '',
  `originator_port` int NOT NULL DEFAULT 0,
  `expires` int NOT NULL DEFAULT -1,
  `correlation_id` varchar(256) NOT NULL DEFAULT '',
  `custom_field1` varchar(120) NOT NULL DEFAULT '',
  `custom_field2` varchar(120) NOT NULL DEFAULT '',
  `custom_field3` varchar(120) NOT NULL DEFAULT '',
  `proto` int NOT NULL DEFAULT 0,
  `family` int DEFAULT NULL,
  `rtp_stat` varchar(256) NOT NULL DEFAULT '',
  `type` int NOT NULL DEFAULT 0,
  `node` varchar(125) NOT NULL DEFAULT '',
  `msg` mediumtext NOT NULL,
  `msg_raw` mediumblob DEFAULT NULL,
  `authorization` varchar(256) GENERATED ALWAYS AS (`auth`) VIRTUAL,
  PRIMARY KEY (`id`, `date`),
  KEY `ruri_user` (`ruri_user`),
  KEY `from_user` (`from_user`),
  KEY `to_user` (`to_user`),
  KEY `pid_user` (`pid_user`),
  KEY `auth_user` (`auth_user`),
  KEY `callid_aleg` (`callid_aleg`),
  KEY `date` (`date`),
  KEY `callid` (`callid`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci
PARTITION BY RANGE (UNIX_TIMESTAMP(`date`)) (
@PARTITIONS@
);

-- How far each stream of blocks is stored; changed in the transaction that stores the rows.
CREATE TABLE IF NOT EXISTS `heptap_ledger` (
  `node` smallint unsigned NOT NULL,
  `stream` bigint unsigned NOT NULL,
  `seq` bigint unsigned NOT NULL,
  `owner` bigint unsigned NOT NULL,
  `updated` datetime NOT NULL,
  PRIMARY KEY (`node`, `stream`)
) ENGINE=InnoDB;

-- Where the next lease of row ids begins, per node.
CREATE TABLE IF NOT EXISTS `heptap_ids` (
  `node` smallint unsigned NOT NULL,
  `next` bigint unsigned NOT NULL,
  PRIMARY KEY (`node`)
) ENGINE=InnoDB;
