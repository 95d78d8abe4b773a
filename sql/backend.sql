-- The Backend's tables, for development and tests only: in production the BE makes and changes them, and the
-- gateway reads them. This is the BE's layout of 2022 (contract §6). The file may be repeated.

CREATE TABLE IF NOT EXISTS users (
    id            VARCHAR(255) NOT NULL,
    password      VARCHAR(255),
    current_login DATETIME,
    last_login    DATETIME,
    createdAt     DATETIME,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS usersInfos (
    id                INT          NOT NULL AUTO_INCREMENT,
    name              VARCHAR(255),
    country_code      VARCHAR(255),
    full_phone_number VARCHAR(255),
    status            VARCHAR(255) NOT NULL DEFAULT 'unverified',
    userId            VARCHAR(255) NOT NULL,
    iv                VARCHAR(255),
    createdAt         DATETIME,
    PRIMARY KEY (id),
    FOREIGN KEY (userId) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS platforms (
    id          INT          NOT NULL AUTO_INCREMENT,
    name        VARCHAR(255) NOT NULL,
    description TEXT,
    logo        VARCHAR(255),
    protocols   VARCHAR(255),
    type        VARCHAR(255),
    letter      VARCHAR(255),
    createdAt   DATETIME,
    PRIMARY KEY (id),
    UNIQUE KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS wallets (
    id           INT          NOT NULL AUTO_INCREMENT,
    username     VARCHAR(255),
    token        TEXT,
    uniqueId     VARCHAR(255),
    uniqueIdHash VARCHAR(255),
    iv           VARCHAR(255),
    userId       VARCHAR(255) NOT NULL,
    platformId   INT          NOT NULL,
    createdAt    DATETIME,
    PRIMARY KEY (id),
    UNIQUE KEY (uniqueIdHash),
    UNIQUE KEY (userId, platformId),
    FOREIGN KEY (userId) REFERENCES users (id),
    FOREIGN KEY (platformId) REFERENCES platforms (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

CREATE TABLE IF NOT EXISTS credentials (
    id           INT  NOT NULL AUTO_INCREMENT,
    shared_key   TEXT,
    hashing_salt TEXT,
    createdAt    DATETIME,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
