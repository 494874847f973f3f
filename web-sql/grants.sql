-- Three accounts with no more than they need. Put passwords (and hosts) of your own, then run this as an administrator of the database;
-- the tables have to be there. Use homer_writer in storage.user if somebody else makes tables and partitions, or `heptap schema rotate`
-- as homer_admin by cron; homer_admin if heptap does.

-- The writer stores rows into tables that are there. (With daily tables it may insert into all of the database: those of days to come
-- cannot be named yet.)
CREATE USER IF NOT EXISTS 'homer_writer'@'localhost' IDENTIFIED BY 'CHANGE-ME-1';
GRANT INSERT ON @SIP_TABLES@ TO 'homer_writer'@'localhost';
GRANT INSERT ON `@DATABASE@`.`rtcp_capture` TO 'homer_writer'@'localhost';
GRANT INSERT ON `@DATABASE@`.`report_capture` TO 'homer_writer'@'localhost';
GRANT INSERT ON `@DATABASE@`.`logs_capture` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON `@DATABASE@`.`heptap_ledger` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE ON `@DATABASE@`.`heptap_ids` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON `@DATABASE@`.`heptap_pending` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE ON `@DATABASE@`.`stats_method` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON `@DATABASE@`.`stats_data` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE ON `@DATABASE@`.`stats_ip` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, UPDATE ON `@DATABASE@`.`stats_useragent` TO 'homer_writer'@'localhost';
GRANT SELECT, INSERT, DELETE ON `@DATABASE@`.`alarm_data` TO 'homer_writer'@'localhost';
GRANT SELECT ON `@DATABASE@`.`alarm_config` TO 'homer_writer'@'localhost';

-- The administrator also makes tables and partitions, and drops what is too old; for `heptap schema rotate` too.
CREATE USER IF NOT EXISTS 'homer_admin'@'localhost' IDENTIFIED BY 'CHANGE-ME-2';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON `@DATABASE_ONLY@`.* TO 'homer_admin'@'localhost';

-- The reader is Homer's web interface: it reads messages and statistics, ticks off alarms, and keeps its own tables.
CREATE USER IF NOT EXISTS 'homer_reader'@'localhost' IDENTIFIED BY 'CHANGE-ME-3';
GRANT SELECT ON `@DATABASE_ONLY@`.* TO 'homer_reader'@'localhost';
GRANT UPDATE, DELETE ON `@DATABASE@`.`alarm_data` TO 'homer_reader'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON `homer\_users`.* TO 'homer_reader'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE ON `homer\_configuration`.* TO 'homer_reader'@'localhost';
