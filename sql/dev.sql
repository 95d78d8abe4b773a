-- The development data (contract §6): one user who has saved gmail. Public secrets, never for production.
-- Repeating the file puts its own rows back as they are here and leaves all others alone.
--
-- Both hashes are HMAC-SHA512 under the hashing_salt below, in lower-case hexadecimal:
--   printf %s 'dummy_password' | openssl dgst -sha512 -hmac b7c1c9605b98de2b055b5a13ac22765e
--   printf %s '+237123456789'  | openssl dgst -sha512 -hmac b7c1c9605b98de2b055b5a13ac22765e

REPLACE INTO credentials (id, shared_key, hashing_salt, createdAt) VALUES
    (1, 'adacd644b58e19a8d35a5405ac2c6755', 'b7c1c9605b98de2b055b5a13ac22765e', '2022-11-08 12:00:00');

INSERT INTO users (id, password, createdAt) VALUES
    ('dead3662-5f78-11ed-b8e7-6d06c3aaf3c6',
     'b829955d86babb6f7d1c68236166e91598f0b541a3ca424ee241633a7a255238b1d7a63b5332db4b8988519ef0dab341a3555fc22947788d06aa6bbd3841cbb0',
     '2022-11-08 12:00:00')
    ON DUPLICATE KEY UPDATE password = VALUES(password);

-- The BE encrypts name and country_code under a key of its own. The gateway reads neither, so they stay empty.
INSERT INTO usersInfos (id, full_phone_number, status, userId, createdAt) VALUES
    (1,
     '601141fe121799a07267bda9ad5e15d9778121661b3510be9f46418f07d630c01dfac1a12919d873ad6c12fd9a1ea2e7cf25e4e28574324586a87573ac3b470c',
     'verified', 'dead3662-5f78-11ed-b8e7-6d06c3aaf3c6', '2022-11-08 12:00:00')
    ON DUPLICATE KEY UPDATE full_phone_number = VALUES(full_phone_number), status = VALUES(status), userId = VALUES(userId);

INSERT INTO platforms (id, name, description, logo, protocols, type, letter, createdAt) VALUES
    (1, 'gmail',
     '{"en": "Gmail is a free email service by Google.", "fr": "Gmail est un service de messagerie gratuit de Google."}',
     '/platforms/gmail/logo.svg', '["oauth2"]', 'email', 'g', '2022-11-08 12:00:00'),
    (2, 'twitter',
     '{"en": "Twitter is a service for short public messages.", "fr": "Twitter est un service de messages courts et publics."}',
     '/platforms/twitter/logo.svg', '["oauth2"]', 'text', 't', '2022-11-08 12:00:00'),
    (3, 'telegram',
     '{"en": "Telegram is an instant messenger.", "fr": "Telegram est une messagerie instantanée."}',
     '/platforms/telegram/logo.svg', '["twofactor"]', 'messaging', 'T', '2022-11-08 12:00:00'),
    (4, 'slack',
     '{"en": "Slack is a messenger for teams.", "fr": "Slack est une messagerie pour les équipes."}',
     '/platforms/slack/logo.svg', '["oauth2"]', 'text', 's', '2022-11-08 12:00:00')
    ON DUPLICATE KEY UPDATE description = VALUES(description), logo = VALUES(logo), protocols = VALUES(protocols),
        type = VALUES(type), letter = VALUES(letter);

INSERT INTO wallets (id, uniqueIdHash, userId, platformId, createdAt) VALUES
    (1, 'dev-gmail', 'dead3662-5f78-11ed-b8e7-6d06c3aaf3c6', 1, '2022-11-08 12:00:00')
    ON DUPLICATE KEY UPDATE userId = VALUES(userId), platformId = VALUES(platformId);
