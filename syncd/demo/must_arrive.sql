-- Which leads must have reached the campaign, by the CRM's own reckoning: id, person, whether it must.
-- Written by hand from the rules of config.toml, and knows nothing of how syncd reads or maps a row.
WITH plain AS (
    SELECT
        *,
        regexp_replace(coalesce(document_number, ''), '[\u0001-\u0020\u007f-\u00a0\u200b\u200e\u2060\ufeff]', '', 'g')
            AS document,
        regexp_replace(coalesce(mobile, ''), '\D', '', 'g') AS digits
    FROM public.leads
), judged AS (
    SELECT
        *,
        -- One Colombian mobile number, with or without the country's 57; words may come before it, and none after.
        coalesce(mobile, '') !~ '\d.*[[:alpha:]/;,]' AND digits ~ '^(57)?3\d{9}$' AS dialable
    FROM plain
)
SELECT
    id::text,
    CASE WHEN dialable THEN right(digits, 10) END AS person,
    consent IS TRUE
        AND status = 'new'
        AND dialable
        AND document <> ''
        AND position(',' IN document) = 0
        AND (document_type IS NULL OR document_type IN ('', 'CC', 'CE', 'TI', 'PA'))
        AND char_length(coalesce(product, '')) <= 100
        AND (callback_at IS NULL OR callback_at > now()) AS must
FROM judged
ORDER BY judged.id
