-- The two small tables that make rows arrive exactly once.

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
