-- The CRM's table: what a sales department keeps of a lead, with the index that polling needs.
CREATE TABLE public.leads (
    id bigserial PRIMARY KEY,
    document_number text NOT NULL,
    full_name text NOT NULL,
    mobile text NOT NULL,
    email text,
    city_code text,
    age integer,
    address text,
    product text NOT NULL,
    utm_source text,
    utm_campaign text,
    notes text,
    callback_at timestamptz,
    consent boolean NOT NULL,
    status text NOT NULL,
    updated_at timestamptz NOT NULL
);

-- The leads: changed over the last thirty days, not quite in the order of their ids; telephones as people write them.
INSERT INTO public.leads (
    document_number, full_name, mobile, email, city_code, age, address, product, utm_source, utm_campaign, notes,
    callback_at, consent, status, updated_at
)
SELECT
    (9000000000 + i)::text,
    first || ' ' || last || ' ' || second,
    CASE i % 10
        WHEN 7 THEN block || ' ' || substr(tail, 1, 3) || ' ' || substr(tail, 4)
        WHEN 8 THEN '+57 ' || block || tail
        WHEN 9 THEN '(' || left(block, 3) || ') ' || substr(block, 4) || substr(tail, 1, 2) || '-' || substr(tail, 3)
        ELSE block || tail
    END,
    CASE WHEN i % 9 > 0 THEN 'Lead.' || i || '@Example.com' END,
    (ARRAY['05001', '08001', '11001', '11001', '13001', '76001', '99999', NULL])[1 + i * 31 % 8],
    CASE WHEN i % 5 > 0 THEN 18 + i % 70 END,
    'Calle ' || i % 170 || ' # ' || i % 99 || '-' || i % 83,
    (ARRAY['Plan hogar', 'Plan móvil', 'Internet fibra', 'Crédito de vehículo', 'Posgrado'])[1 + i * 17 % 5],
    (ARRAY['google', 'facebook', 'instagram', 'referido', NULL])[1 + i * 13 % 5],
    (ARRAY['black-friday', 'niñez_2026', NULL])[1 + i * 11 % 3],
    CASE i % 6
        WHEN 0 THEN 'Pidió que la llamaran después de las seis, porque antes está en clase y no puede contestar.'
            || ' Vive con sus padres.'
        WHEN 1 THEN 'Vino por la feria.'
    END,
    CASE WHEN i % 4 = 0 THEN date_trunc('minute', now()) + interval '1 day' + i % 5000 * interval '1 minute' END,
    true,
    'new',
    now() - interval '1 day' - (@leads@ - i) * (interval '30 days' / @leads@) - i * 7919 % 600 * interval '1 s'
FROM generate_series(1::bigint, @leads@) AS i,
    LATERAL (SELECT
        (ARRAY['Ana', 'Belén', 'Camila', 'Esteban', 'Héctor', 'Iván', 'Jesús', 'Lucía', 'Óscar', 'Sofía', 'Ximena'])[
            1 + i % 11] AS first,
        (ARRAY['Acuña', 'Castro', 'Gómez', 'Ibáñez', 'López', 'Muñoz', 'Peña', 'Ríos', 'Vélez'])[1 + i * 7 % 9] AS last,
        (ARRAY['Álvarez', 'Díaz', 'González', 'Martínez', 'Ospina', 'Rojas', 'Zúñiga'])[1 + i * 5 % 7] AS second,
        (ARRAY['3100', '3101', '3110', '3111', '3120', '3121', '3140', '3141', '3200', '3201', '3210', '3211'])[
            1 + i % 12] AS block,
        lpad((i / 12 * 7919 % 1000000)::text, 6, '0') AS tail) AS made_up;

CREATE INDEX ON public.leads (updated_at);

VACUUM (ANALYZE) public.leads;
