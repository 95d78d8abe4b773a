-- The one table that the gateway owns (contract §6). `swob-gateway migrate` applies this file and may be repeated.
--
-- The layout is that of the earlier Python server, so that its table is taken over in place, rows and all.
-- InnoDB, since an answer of 200 promises a COMMIT. ROW_FORMAT is named because 256 utf8 characters make a key
-- of 768 bytes, one more than the older formats allow.

CREATE TABLE IF NOT EXISTS gateway_server_users (
    msisdn_hash       VARCHAR(256) NOT NULL,
    shared_key        TEXT         NOT NULL,
    public_key        TEXT         NOT NULL,
    mgf1ParameterSpec TEXT         NOT NULL,
    hashingAlgorithm  TEXT         NOT NULL,
    date              DATETIME     DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    PRIMARY KEY (msisdn_hash)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8;
