function cst = add_dosewright_objectives(cst, file)
% Adds the objectives and constraints that Dosewright wrote to a matRad cst.
%
%   cst = add_dosewright_objectives(cst, 'matrad_objectives.mat')
%
% Structures are found by name in cst{:,2}; one that is absent, or there twice, is an
% error, and cst is then as it was. What cst has already is kept: clear cst{i,6} first
% where it shall not count. Doses are total Gy, volumes percent; matRad divides doses by
% the number of fractions itself. For research only, not for clinical use.

stored = load(file);
if ~strcmp(stored.dose_unit, 'Gy, total')
    error('dosewright:unit', 'Doses in %s must be total Gy, and are %s.', file, stored.dose_unit);
end
rows = zeros(1, numel(stored.structures));
for i = 1:numel(stored.structures)
    found = find(strcmp(cst(:, 2), stored.structures{i}));
    if numel(found) ~= 1
        error('dosewright:structure', 'cst must have ''%s'' once, and has it %d times.', ...
            stored.structures{i}, numel(found));
    end
    rows(i) = found;
end
for i = 1:numel(rows)
    if isempty(cst{rows(i), 6})
        cst{rows(i), 6} = {};
    end
    for j = 1:numel(stored.functions{i})
        cst{rows(i), 6}{end + 1} = stored.functions{i}{j};
    end
end
end
