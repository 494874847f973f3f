-- What Homer 5's search for a transaction also looks into: the table has to be there, or nothing is found. heptap puts nothing into it.
CREATE TABLE IF NOT EXISTS `webrtc_capture` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `micro_ts` bigint NOT NULL DEFAULT 0,
  `method` varchar(100) NOT NULL DEFAULT '',
  `caller` varchar(250) NOT NULL DEFAULT '',
  `callee` varchar(250) NOT NULL DEFAULT '',
  `session_id` varchar(256) NOT NULL DEFAULT '',
  `correlation_id` varchar(256) NOT NULL DEFAULT '',
  `source_ip` varchar(60) NOT NULL DEFAULT '',
  `source_port` int NOT NULL DEFAULT 0,
  `destination_ip` varchar(60) NOT NULL DEFAULT '',
  `destination_port` int NOT NULL DEFAULT 0,
  `proto` int NOT NULL DEFAULT 0,
  `family` int DEFAULT NULL,
  `type` int NOT NULL DEFAULT 0,
  `node` varchar(125) NOT NULL DEFAULT '',
  `msg` mediumtext NOT NULL,
  PRIMARY KEY (`id`, `date`),
  KEY `date` (`date`),
  KEY `correlation_id` (`correlation_id`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
