-- The small tables that make rows arrive exactly once.

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

-- What statistics still lead to: 1 five minutes whose asr and ner are to be computed, 2 replies of a minute that may be an alarm, 3 requests of
-- scanners in five minutes. Changed in the transaction that stores the counts, taken out in the one that stores what they lead to.
CREATE TABLE IF NOT EXISTS `heptap_pending` (
  `what` tinyint unsigned NOT NULL,
  `at` datetime NOT NULL,
  `name` varchar(20) NOT NULL,
  `source_ip` varchar(120) NOT NULL,
  `total` bigint unsigned NOT NULL,
  PRIMARY KEY (`what`, `at`, `name`, `source_ip`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
