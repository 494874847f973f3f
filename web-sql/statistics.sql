-- Statistics and alarms as Homer 3 and Homer 5 read them: counts per five minutes. The unique keys are what ON DUPLICATE KEY UPDATE adds
-- to. Homer 3 has these tables beside sip_capture, Homer 5 in a database homer_statistic.
CREATE TABLE IF NOT EXISTS `stats_method` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `method` varchar(50) NOT NULL DEFAULT '',
  `auth` tinyint NOT NULL DEFAULT 0,
  `cseq` varchar(100) NOT NULL DEFAULT '',
  `totag` tinyint NOT NULL DEFAULT 0,
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `method`, `auth`, `totag`, `cseq`),
  KEY `to_date` (`to_date`),
  KEY `method` (`method`),
  KEY `completed` (`cseq`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_data` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `type` varchar(50) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `type`),
  KEY `to_date` (`to_date`),
  KEY `type` (`type`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_ip` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `method` varchar(50) NOT NULL DEFAULT '',
  `source_ip` varchar(255) NOT NULL DEFAULT '0.0.0.0',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `method`, `source_ip`),
  KEY `to_date` (`to_date`),
  KEY `method` (`method`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_useragent` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `useragent` varchar(100) NOT NULL DEFAULT '',
  `method` varchar(50) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `method`, `useragent`),
  KEY `to_date` (`to_date`),
  KEY `useragent` (`useragent`),
  KEY `method` (`method`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_geo` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `method` varchar(50) NOT NULL DEFAULT '',
  `country` varchar(255) NOT NULL DEFAULT 'UN',
  `lat` float NOT NULL DEFAULT 0,
  `lon` float NOT NULL DEFAULT 0,
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `method`, `country`),
  KEY `to_date` (`to_date`),
  KEY `method` (`method`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_dest_reply` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `prefix` varchar(100) NOT NULL DEFAULT '',
  `method` varchar(50) NOT NULL DEFAULT '',
  `country` varchar(255) NOT NULL DEFAULT 'UN',
  `status_code` varchar(10) NOT NULL DEFAULT '',
  `reason_phrase` varchar(100) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `prefix`, `method`, `country`, `status_code`, `reason_phrase`),
  KEY `to_date` (`to_date`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_generic` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `from_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `to_date` timestamp NOT NULL DEFAULT '1971-01-01 00:00:01',
  `type` varchar(50) NOT NULL DEFAULT '',
  `tag` varchar(100) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`, `from_date`),
  UNIQUE KEY `bucket` (`from_date`, `to_date`, `type`, `tag`),
  KEY `to_date` (`to_date`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `alarm_data` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `type` varchar(50) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  `source_ip` varchar(150) NOT NULL DEFAULT '0.0.0.0',
  `description` varchar(256) NOT NULL DEFAULT '',
  `status` int NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`, `create_date`),
  KEY `create_date` (`create_date`),
  KEY `type` (`type`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- How many of a reply in a minute make an alarm: Homer 3 reads type and value, Homer 5 the rest too.
CREATE TABLE IF NOT EXISTS `alarm_config` (
  `id` int NOT NULL AUTO_INCREMENT,
  `name` varchar(255) NOT NULL DEFAULT '',
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `startdate` datetime NOT NULL DEFAULT '1971-01-01 00:00:01',
  `stopdate` datetime NOT NULL DEFAULT '2037-01-01 00:00:00',
  `type` varchar(50) NOT NULL DEFAULT '',
  `value` int NOT NULL DEFAULT 0,
  `notify` tinyint NOT NULL DEFAULT 1,
  `email` varchar(255) NOT NULL DEFAULT '',
  `createdate` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `active` tinyint NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  UNIQUE KEY `type` (`type`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Where capture scripts of Kamailio and OpenSIPS count between two buckets. heptap counts in memory of its own; these are for a database
-- that both write to.
CREATE TABLE IF NOT EXISTS `stats_method_mem` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `method` varchar(50) NOT NULL DEFAULT '',
  `auth` tinyint NOT NULL DEFAULT 0,
  `cseq` varchar(100) NOT NULL DEFAULT '',
  `totag` tinyint NOT NULL DEFAULT 0,
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `bucket` (`method`, `auth`, `totag`, `cseq`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_ip_mem` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `method` varchar(50) NOT NULL DEFAULT '',
  `source_ip` varchar(255) NOT NULL DEFAULT '0.0.0.0',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `bucket` (`method`, `source_ip`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_useragent_mem` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `useragent` varchar(100) NOT NULL DEFAULT '',
  `method` varchar(50) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `bucket` (`method`, `useragent`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_geo_mem` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `method` varchar(50) NOT NULL DEFAULT '',
  `country` varchar(255) NOT NULL DEFAULT 'UN',
  `lat` float NOT NULL DEFAULT 0,
  `lon` float NOT NULL DEFAULT 0,
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `bucket` (`method`, `country`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `stats_dest_mem` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `prefix` varchar(50) NOT NULL DEFAULT '',
  `method` varchar(50) NOT NULL DEFAULT '',
  `status_code` varchar(10) NOT NULL DEFAULT '',
  `reason_phrase` varchar(100) NOT NULL DEFAULT '',
  `country` varchar(255) NOT NULL DEFAULT 'UN',
  `lat` float NOT NULL DEFAULT 0,
  `lon` float NOT NULL DEFAULT 0,
  `duration` int DEFAULT NULL,
  `total` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE IF NOT EXISTS `alarm_data_mem` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `create_date` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `type` varchar(50) NOT NULL DEFAULT '',
  `total` bigint NOT NULL DEFAULT 0,
  `source_ip` varchar(150) NOT NULL DEFAULT '0.0.0.0',
  `description` varchar(256) NOT NULL DEFAULT '',
  `status` int NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  UNIQUE KEY `bucket` (`type`, `source_ip`)
) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
