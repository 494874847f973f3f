-- A table for what is not SIP: rtcp_capture, report_capture (quality of calls) or logs_capture. Homer 3 reads the first and the last,
-- Homer 5 all three. Their columns are Homer's; msg holds a report of any length, since one that is cut is not JSON any more.
CREATE TABLE IF NOT EXISTS `@TABLE@` (
  `id` bigint unsigned NOT NULL,
  `date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `micro_ts` bigint NOT NULL DEFAULT 0,
  `correlation_id` varchar(256) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  `source_ip` varchar(60) NOT NULL DEFAULT '',
  `source_port` int NOT NULL DEFAULT 0,
  `destination_ip` varchar(60) NOT NULL DEFAULT '',
  `destination_port` int NOT NULL DEFAULT 0,
  `proto` int NOT NULL DEFAULT 0,
  `family` int DEFAULT NULL,
  `type` int NOT NULL DEFAULT 0,
  `node` varchar(125) NOT NULL DEFAULT '',
  `msg` mediumtext NOT NULL,
  `msg_raw` mediumblob DEFAULT NULL,
  PRIMARY KEY (`date`, `id`),
  KEY `correlation_id` (`correlation_id`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci@PARTITIONS@;
