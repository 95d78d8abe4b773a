-- Least rights for the gateway's database accounts. An administrator of the database runs this file:
--
--     mariadb < sql/grants.sql
--     mariadb -e "ALTER USER 'swob_gateway'@'localhost' IDENTIFIED BY '…' ACCOUNT UNLOCK"
--
-- The accounts are made locked, so that no password stands in a file. The second command gives one and opens the
-- account. Both parts may be repeated, on MariaDB 10.11 and on MySQL 8.
--
-- Put your own in place of these names, in each part by itself:
--     database `swob_gateway`                  [mysql] database in part 1, [mysql_be] database in part 2
--     account  'swob_gateway'@'localhost'      username, and the host that the gateway connects from
-- As they stand, both parts name the one database and the one account of the default settings.

-- Part 1, on the gateway's own server: its one table, and nothing else in that database.
--
-- CREATE on that one name lets `swob-gateway migrate` make the table under the same account, and lets the grant be
-- given before the table is there. It allows no other table, no DROP and no ALTER. The database is made here,
-- because the right to make one is also the right to make any table in it.

CREATE DATABASE IF NOT EXISTS `swob_gateway`;

CREATE USER IF NOT EXISTS 'swob_gateway'@'localhost' ACCOUNT LOCK;

GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `swob_gateway`.`gateway_server_users` TO 'swob_gateway'@'localhost';

-- Part 2, on the BE's server, when the BE has made its tables: reading, and nothing else.
--
-- Where the BE has a server or a database of its own, name that database here, and an account of its own too, such
-- as 'swob_gateway_be'@'localhost'. A later BE has no `platforms` and maybe no `credentials`: delete those lines.

CREATE USER IF NOT EXISTS 'swob_gateway'@'localhost' ACCOUNT LOCK;

GRANT SELECT ON `swob_gateway`.`users`       TO 'swob_gateway'@'localhost';
GRANT SELECT ON `swob_gateway`.`usersInfos`  TO 'swob_gateway'@'localhost';
GRANT SELECT ON `swob_gateway`.`wallets`     TO 'swob_gateway'@'localhost';
GRANT SELECT ON `swob_gateway`.`platforms`   TO 'swob_gateway'@'localhost';
GRANT SELECT ON `swob_gateway`.`credentials` TO 'swob_gateway'@'localhost';
