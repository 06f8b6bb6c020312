-- The table of leads as many a CRM has it: everything is text, nothing is required, and a trigger keeps updated_at.
CREATE TABLE public.leads (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    status text NOT NULL DEFAULT 'new',
    consent boolean,
    document_type text,
    document_number text,
    full_name text,
    mobile text,
    email text,
    city_code text,
    product text,
    notes text,
    utm_source text,
    utm_campaign text,
    callback_at timestamptz,
    attributes jsonb
);

CREATE INDEX leads_updated_at ON public.leads (updated_at);

CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN NEW.updated_at := now(); RETURN NEW; END$$;

CREATE TRIGGER leads_touch BEFORE UPDATE ON public.leads FOR EACH ROW EXECUTE FUNCTION public.touch();
