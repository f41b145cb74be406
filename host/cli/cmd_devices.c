/* cmd_devices.c - nibble devices: what --device takes. */
#include "cli.h"

#include <stdlib.h>

nib_status list_devices(nib_device_info **infos_ret, size_t *count_ret)
{
    size_t count = 0;
    nib_status status = nib_devices(NULL, 0, &count);
    if (status != NIB_OK) return status;
    nib_device_info *infos = calloc(count ? count : 1, sizeof *infos);
    if (!infos) return NIB_E_MEMORY;
    size_t now = count;
    status = nib_devices(infos, count, &now);
    if (status != NIB_OK) {
        free(infos);
        return status;
    }
    *infos_ret = infos;
    *count_ret = now < count ? now : count;
    return NIB_OK;
}

json_t *json_devices(const nib_device_info *infos, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const nib_device_info *info = &infos[i];
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:o, s:o, s:o, s:i, s:b, s:o}", "name", info->name, "model",
                            json_text(info->model), "driver", json_text(info->driver), "features",
                            json_text(info->features), "memory_bytes",
                            json_bytes(info->memory_bytes), "units", info->units, "quantizes",
                            info->quantizes, "note", json_text(info->note)));
    }
    return list;
}

int cmd_devices(const cli_command *command, const cli_settings *settings)
{
    (void)command;
    nib_device_info *infos;
    size_t count;
    nib_status status = list_devices(&infos, &count);
    if (status != NIB_OK) return fail_status(status, settings);
    if (settings->as == AS_JSON) {
        json_t *result = json_result("devices");
        json_object_set_new(result, "devices", json_devices(infos, count));
        free(infos);
        return json_print(result);
    }
    cli_table *t = table_new("device|model|>units|>memory|quantizes|features|note", settings->as);
    for (size_t i = 0; i < count; i++) {
        table_cell(t, "%s", infos[i].name);
        table_cell(t, "%s", infos[i].model);
        table_cell(t, "%d", infos[i].units);
        table_bytes(t, infos[i].memory_bytes);
        table_cell(t, "%s", infos[i].quantizes ? "yes" : "no");
        table_cell(t, "%s", infos[i].features);
        table_cell(t, "%s", infos[i].note);
    }
    free(infos);
    return table_print(t);
}
